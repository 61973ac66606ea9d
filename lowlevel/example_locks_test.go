//go:build linux

package lowlevel_test

import (
	"fmt"
	"os"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// Locks: one that waits is answered when it is there. It has a goroutine of its own, so it may just block; r.Context ends when
// the caller is interrupted.
func ExampleOperations_locks() {
	held := make(chan struct{}, 1)
	ops := &lowlevel.Operations{
		Init: func(c *lowlevel.Conn) error { return c.Want(lowlevel.CapFlockLocks) },
		Lookup: func(r lowlevel.EntryReq, _ lowlevel.NodeID, _ lowlevel.Name) {
			r.ReplyEntry(&lowlevel.Entry{NodeID: 2, Attr: lowlevel.Stat{Ino: 2, Mode: syscall.S_IFREG | 0o644}})
		},
		Flock: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, op int) {
			switch {
			case op&syscall.LOCK_UN != 0:
				<-held
				r.ReplyOK()
			case op&syscall.LOCK_NB != 0:
				select {
				case held <- struct{}{}:
					r.ReplyOK()
				default:
					r.ReplyErr(syscall.EWOULDBLOCK)
				}
			default:
				select {
				case held <- struct{}{}:
					r.ReplyOK()
				case <-r.Context().Done():
					r.ReplyErr(syscall.EINTR)
				}
			}
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		e, _ := k.Lookup(lowlevel.RootID, "file")
		a, _ := k.Open(e.NodeID, os.O_RDWR)
		b, _ := k.Open(e.NodeID, os.O_RDWR)
		fmt.Println(a.Flock(syscall.LOCK_EX))
		fmt.Println(b.Flock(syscall.LOCK_EX | syscall.LOCK_NB))
		fmt.Println(a.Flock(syscall.LOCK_UN))
		fmt.Println(b.Flock(syscall.LOCK_EX))
		a.Close()
		b.Close()
	})

	// Output:
	// <nil>
	// resource temporarily unavailable
	// <nil>
	// <nil>
}
