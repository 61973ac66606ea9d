//go:build linux

package lowlevel_test

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// Files: a handler may answer later, from another goroutine. This one reads from something slow.
func ExampleOperations_files() {
	const text = "Hello World!"
	slow := time.NewTimer(time.Millisecond)
	ops := &lowlevel.Operations{
		Lookup: func(r lowlevel.EntryReq, _ lowlevel.NodeID, _ lowlevel.Name) {
			r.ReplyEntry(&lowlevel.Entry{NodeID: 2, Attr: lowlevel.Stat{Ino: 2, Mode: syscall.S_IFREG | 0o444, Size: uint64(len(text))}})
		},
		Open: func(r lowlevel.OpenReq, _ lowlevel.NodeID, fi *lowlevel.FileInfo) {
			if fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
				r.ReplyErr(syscall.EACCES)
				return
			}
			fi.KeepCache = true
			r.ReplyOpen(fi)
		},
		Read: func(r lowlevel.DataReq, _ lowlevel.NodeID, size int, off int64, _ *lowlevel.FileInfo) {
			go func() {
				select {
				case <-slow.C:
					off := min(off, int64(len(text)))
					r.ReplyBuf([]byte(text[off:min(off+int64(size), int64(len(text)))]))
				case <-r.Context().Done(): // the caller was interrupted
					r.ReplyErr(syscall.EINTR)
				}
			}()
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		e, _ := k.Lookup(lowlevel.RootID, "file")
		_, err := k.Open(e.NodeID, os.O_RDWR)
		fmt.Println(err)
		f, err := k.Open(e.NodeID, os.O_RDONLY)
		fmt.Println(err)
		data, err := f.Read(6, 100)
		fmt.Printf("%q %v\n", data, err)
		f.Close()
	})

	// Output:
	// permission denied
	// <nil>
	// "World!" <nil>
}
