//go:build linux

package highlevel_test

import (
	"fmt"
	"os"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// Locks that others see, too: those of flock(2) in a channel of one place. Without Flock and Lock the kernel keeps all locks by
// itself. One that waits has a goroutine of its own, and ends when its caller is interrupted.
func ExampleOperations_locks() {
	held := make(chan struct{}, 1)
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			st.Mode = syscall.S_IFREG | 0o644
			if path == "/" {
				st.Mode = syscall.S_IFDIR | 0o755
			}
			return nil
		},
		Flock: func(c *highlevel.Context, _ string, _ *highlevel.FileInfo, op int) error {
			switch {
			case op&syscall.LOCK_UN != 0:
				select {
				case <-held:
				default:
				}
				return nil
			case op&syscall.LOCK_NB != 0:
				select {
				case held <- struct{}{}:
					return nil
				default:
					return syscall.EWOULDBLOCK
				}
			}
			select {
			case held <- struct{}{}:
				return nil
			case <-c.Done():
				return syscall.EINTR
			}
		},
		Lock: func(_ *highlevel.Context, _ string, fi *highlevel.FileInfo, cmd int, lk *highlevel.Flock) error {
			if cmd == syscall.F_GETLK {
				lk.Type = syscall.F_UNLCK // nothing else is in the way; the library knows the locks of this mount
			}
			return nil
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		e, err := k.Lookup(lowlevel.RootID, "file")
		fmt.Println(err)
		a, _ := k.Open(e.NodeID, os.O_RDWR)
		b, _ := k.Open(e.NodeID, os.O_RDWR)
		fmt.Println(a.Flock(syscall.LOCK_EX | syscall.LOCK_NB))
		fmt.Println(b.Flock(syscall.LOCK_EX | syscall.LOCK_NB))
		fmt.Println(a.Flock(syscall.LOCK_UN))
		fmt.Println(b.Flock(syscall.LOCK_EX))
		fmt.Println(a.Setlk(wire.FileLock{Type: syscall.F_WRLCK, Start: 0, End: 9}, false))
		a.Close()
		b.Close()
	})

	// Output:
	// <nil>
	// <nil>
	// resource temporarily unavailable
	// <nil>
	// <nil>
	// <nil>
}
