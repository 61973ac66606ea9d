//go:build linux

package lowlevel_test

import (
	"fmt"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// Extended attributes: a request of size 0 asks for the length, and what does not fit is ERANGE.
func ExampleOperations_xattrs() {
	const value = "blue"
	ops := &lowlevel.Operations{
		Getxattr: func(r lowlevel.XattrReq, _ lowlevel.NodeID, name lowlevel.Name, size int) {
			switch {
			case string(name.Bytes()) != "user.color":
				r.ReplyErr(syscall.ENODATA)
			case size == 0:
				r.ReplyXattr(len(value))
			case size < len(value):
				r.ReplyErr(syscall.ERANGE)
			default:
				r.ReplyBuf([]byte(value))
			}
		},
		Setxattr: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ lowlevel.Name, _ []byte, _ uint32) {
			r.ReplyErr(syscall.EROFS)
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		_, n, err := k.Getxattr(lowlevel.RootID, "user.color", 0)
		fmt.Println(n, err)
		got, _, err := k.Getxattr(lowlevel.RootID, "user.color", 100)
		fmt.Printf("%s %v\n", got, err)
		_, _, err = k.Getxattr(lowlevel.RootID, "user.size", 100)
		fmt.Println(err)
		fmt.Println(k.Setxattr(lowlevel.RootID, "user.size", []byte("big"), 0))
	})

	// Output:
	// 4 <nil>
	// blue <nil>
	// no data available
	// read-only file system
}
