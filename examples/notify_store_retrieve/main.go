//go:build linux

// Notify_store_retrieve is a file system with one file that holds the time. The kernel may cache it for ever; each time it
// changes, the new contents are put into the kernel's cache, and read back from there for a check.
//
//	notify_store_retrieve [--update-interval=<secs>] [--no-notify] [options] <mountpoint>
//
// With --no-notify the file never changes for those who have read it once. See notify_inval_inode for how to have the kernel
// fetch the new contents instead. The exit code is 1 if what came back was not what was stored.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/purefuse/purefuse/examples/internal/onefile"
	ll "github.com/purefuse/purefuse/lowlevel"
)

const help = `File-system specific options:
    --update-interval=<secs>  Update-rate of file system contents
    --no-notify            Disable kernel notifications

`

func main() {
	f := &onefile.File{Mode: 0o444, Timeout: func() time.Duration { return onefile.Forever }}
	var text string
	set := func() {
		text = time.Now().Format("The current time is 15:04:05\n")
		f.Set("current_time", text)
	}
	set()
	os.Exit(f.Program(help, nil, nil, func(s *ll.Session, tell bool) bool {
		set()
		if tell && f.Opened() {
			renew(s, text)
		}
		return true
	}))
}

// renew stores the text and retrieves it.
func renew(s *ll.Session, text string) {
	n := s.Notify()
	if err := n.Store(onefile.Ino, 0, []byte(text)); err != nil {
		if !onefile.Gone(err) {
			onefile.Fail("storing", err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p := make([]byte, 128)
	got, err := n.Retrieve(ctx, onefile.Ino, 0, p)
	switch {
	case onefile.Gone(err):
	case err != nil:
		onefile.Fail("retrieving", err)
	case got == 0: // the kernel may have needed the memory
	case string(p[:got]) != text:
		onefile.Fail("retrieving", fmt.Errorf("%q came back for %q", p[:got], text))
	}
}
