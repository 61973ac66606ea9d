//go:build linux

// Notify_inval_inode is a file system with one file that holds the time. The kernel may cache it for ever, and is told each
// time it changes that the cache is stale, so that the next read asks for the new contents.
//
//	notify_inval_inode [--update-interval=<secs>] [--no-notify] [options] <mountpoint>
//
// With --no-notify the file never changes for those who have read it once. See notify_store_retrieve for how to put the new
// contents into the cache instead.
package main

import (
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
	set := func() { f.Set("current_time", time.Now().Format("The current time is 15:04:05\n")) }
	set()
	os.Exit(f.Program(help, nil, nil, func(s *ll.Session, tell bool) bool {
		set()
		if tell {
			// Sent directly, as this is no handler: nothing waits for us. From 0 to the end.
			if err := s.Notify().InvalInode(onefile.Ino, 0, 0); err != nil && !onefile.Gone(err) {
				onefile.Fail("invalidating the inode", err)
			}
		}
		return true
	}))
}
