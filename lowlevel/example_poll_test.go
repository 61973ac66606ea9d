//go:build linux

package lowlevel_test

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// Poll and ioctl: who waits is woken through the handle that the poll came with.
func ExampleOperations_poll() {
	var mu sync.Mutex
	var ringing bool
	var waiting *lowlevel.PollHandle
	ops := &lowlevel.Operations{
		Lookup: func(r lowlevel.EntryReq, _ lowlevel.NodeID, _ lowlevel.Name) {
			r.ReplyEntry(&lowlevel.Entry{NodeID: 2, Attr: lowlevel.Stat{Ino: 2, Mode: syscall.S_IFREG | 0o644}})
		},
		Poll: func(r lowlevel.PollReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, ph *lowlevel.PollHandle) {
			mu.Lock()
			defer mu.Unlock()
			if ph != nil {
				waiting = ph
			}
			if ringing {
				r.ReplyPoll(1) // POLLIN
			} else {
				r.ReplyPoll(0)
			}
		},
		Ioctl: func(r lowlevel.IoctlReq, _ lowlevel.NodeID, cmd uint32, _ uint64, _ *lowlevel.FileInfo, _ uint32, _ []byte, _ int) {
			if cmd != 'A'<<8|1 { // _IO('A', 1)
				r.ReplyErr(syscall.ENOTTY)
				return
			}
			mu.Lock()
			ringing = true
			ph := waiting
			mu.Unlock()
			r.ReplyIoctl(0)
			ph.Notify()
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		e, _ := k.Lookup(lowlevel.RootID, "alarm")
		f, _ := k.Open(e.NodeID, os.O_RDONLY)
		events, err := f.Poll(1, 7)
		fmt.Println(events, err)
		_, _, err = f.Ioctl('A'<<8|1, 0, nil, 0)
		fmt.Println(err)
		n := <-k.Notifications()
		fmt.Println(n.KH)
		events, err = f.Poll(1, 7)
		fmt.Println(events, err)
		f.Close()
	})

	// Output:
	// 0 <nil>
	// <nil>
	// 7
	// 1 <nil>
}
