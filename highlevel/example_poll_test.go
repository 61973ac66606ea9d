//go:build linux

package highlevel_test

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

// alarm is a file that can be waited for.
type alarm struct {
	mu      sync.Mutex
	ringing bool
	waiting *highlevel.PollHandle
}

func (a *alarm) poll(_ *highlevel.Context, _ string, _ *highlevel.FileInfo, ph *highlevel.PollHandle) (uint32, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ph != nil { // somebody waits: keep it for later
		a.waiting = ph
	}
	if a.ringing {
		return 1, nil // POLLIN
	}
	return 0, nil
}

func (a *alarm) ring() error {
	a.mu.Lock()
	a.ringing = true
	waiting := a.waiting
	a.mu.Unlock()
	return waiting.Notify() // the kernel polls again
}

// ioctl answers one number, _IO('A', 1), which carries nothing.
func (a *alarm) ioctl(_ *highlevel.Context, _ string, cmd uint32, _ uint64, _ *highlevel.FileInfo, _ uint32, _ []byte) (int32, error) {
	if cmd != 'A'<<8|1 {
		return 0, syscall.ENOTTY
	}
	return 0, a.ring()
}

// Poll and ioctl: a device in a file.
func ExampleOperations_poll() {
	a := new(alarm)
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			st.Mode = syscall.S_IFREG | 0o644
			if path == "/" {
				st.Mode = syscall.S_IFDIR | 0o755
			}
			return nil
		},
		Poll: a.poll, Ioctl: a.ioctl,
	}
	drive(ops, func(k *fusetest.Kernel) {
		e, _ := k.Lookup(lowlevel.RootID, "alarm")
		f, _ := k.Open(e.NodeID, os.O_RDONLY)
		const wait = 7 // the kernel's number of the one who waits
		events, err := f.Poll(1, wait)
		fmt.Println(events, err)
		_, _, err = f.Ioctl('A'<<8|1, 0, nil, 0)
		fmt.Println(err)
		n := <-k.Notifications()
		fmt.Println(n.KH == wait)
		events, err = f.Poll(1, wait)
		fmt.Println(events, err)
		f.Close()
	})

	// Output:
	// 0 <nil>
	// <nil>
	// true
	// 1 <nil>
}
