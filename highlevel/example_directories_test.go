//go:build linux

package highlevel_test

import (
	"fmt"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

// Directories: opendir(3), readdir(3), closedir(3). What an open directory has to remember is behind its handle; here that are the
// names, which do not change while somebody reads them.
func ExampleOperations_directories() {
	var open lowlevel.Handles[[]string]
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			st.Mode = syscall.S_IFREG | 0o644
			if path == "/" {
				st.Mode = syscall.S_IFDIR | 0o755
			}
			return nil
		},
		Opendir: func(_ *highlevel.Context, _ string, fi *highlevel.FileInfo) error {
			fi.FH = open.Put([]string{".", "..", "one", "two", "three"})
			return nil
		},
		Readdir: func(_ *highlevel.Context, _ string, fill highlevel.Filler, off uint64, fi *highlevel.FileInfo, plus bool) error {
			names, ok := open.Get(fi.FH)
			if !ok {
				return syscall.EBADF
			}
			for i := off; i < uint64(len(names)); i++ {
				// All attributes, if the kernel asks for them, save it a lookup of each name.
				add := fill.Add
				if plus {
					add = fill.AddPlus
				}
				if !add(names[i], &highlevel.Stat{Mode: syscall.S_IFREG | 0o644}, i+1) {
					break // no room: the kernel comes again with the offset of the last one
				}
			}
			return nil
		},
		Releasedir: func(_ *highlevel.Context, _ string, fi *highlevel.FileInfo) error {
			open.Take(fi.FH)
			return nil
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		d, err := k.Opendir(lowlevel.RootID)
		fmt.Println(err)
		some, err := d.Readdir(0, 70) // room for two or three
		fmt.Println(len(some), err)
		for off := some[len(some)-1].Off; ; {
			more, err := d.Readdirplus(off, 200)
			if err != nil || len(more) == 0 {
				break
			}
			for _, e := range more {
				fmt.Println(e.Name, e.Plus != nil)
				off = e.Off
			}
		}
		fmt.Println(d.Close())
	})

	// Output:
	// <nil>
	// 2 <nil>
	// one true
	// two true
	// three true
	// <nil>
}
