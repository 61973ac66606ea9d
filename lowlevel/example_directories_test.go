//go:build linux

package lowlevel_test

import (
	"fmt"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// Directories: entries go into the reply until it is full, each with the offset at which the next request goes on.
func ExampleOperations_directories() {
	names := []string{".", "..", "one", "two", "three"}
	ops := &lowlevel.Operations{
		Readdir: func(r lowlevel.DirReq, _ lowlevel.NodeID, _ int, off uint64, _ *lowlevel.FileInfo) {
			for i := off; i < uint64(len(names)); i++ {
				if !r.Add(names[i], &lowlevel.Stat{Ino: 10 + i, Mode: syscall.S_IFREG}, i+1) {
					break
				}
			}
			r.Reply() // without entries: the end
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		d, err := k.Opendir(lowlevel.RootID)
		fmt.Println(err)
		all, err := d.ReadAll(64) // in several requests
		for _, e := range all {
			fmt.Println(e.Name, e.Ino, e.Off)
		}
		fmt.Println(err)
		d.Close()
	})

	// Output:
	// <nil>
	// . 10 1
	// .. 11 2
	// one 12 3
	// two 13 4
	// three 14 5
	// <nil>
}
