//go:build linux

// Notify_prune is a file system with one file that holds the time at which the kernel has last forgotten it. The kernel may
// cache it for ever; it is asked to give up what it knows of the file, which it does when nobody uses that, and a FORGET is
// the sign that it has.
//
//	notify_prune [--update-interval=<secs>] [--no-notify] [options] <mountpoint>
//
// It prints "prune sent" and "prune complete" when that has happened for the first time.
package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/purefuse/purefuse/examples/internal/onefile"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/notify"
)

const help = `File-system specific options:
    --update-interval=<secs>  Update-rate of file system contents
    --no-notify            Disable kernel notifications

`

// once prints a line the first time.
func once(line string) func() { return sync.OnceFunc(func() { fmt.Println(line) }) }

func main() {
	sent, complete := once("prune sent"), once("prune complete")
	f := &onefile.File{Mode: 0o444, Timeout: func() time.Duration { return onefile.Forever }}
	set := func() { f.Set("current_time", time.Now().Format("The current time is 15:04:05\n")) }
	set()
	f.Forgotten = func() {
		set()
		complete()
	}
	os.Exit(f.Program(help, nil, nil, func(s *ll.Session, tell bool) bool {
		if !tell {
			return true
		}
		err := s.Notify().Prune(onefile.Ino)
		if _, ok := errors.AsType[*notify.NotSupportedError](err); ok {
			fmt.Println("fuse_lowlevel_notify_prune not supported by kernel")
			return false
		}
		if err == nil {
			sent()
		} else if !onefile.Gone(err) {
			onefile.Fail("pruning", err)
		}
		return true
	}))
}
