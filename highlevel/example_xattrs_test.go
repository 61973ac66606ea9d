//go:build linux

package highlevel_test

import (
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

// Extended attributes: a question for the length has an empty dst, and what does not fit is ERANGE.
func ExampleOperations_xattrs() {
	attrs := map[string]string{"user.color": "blue"} // of the only file
	fill := func(dst []byte, value string) (int, error) {
		if len(dst) > 0 && len(dst) < len(value) {
			return 0, syscall.ERANGE
		}
		copy(dst, value)
		return len(value), nil
	}
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, _ string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			st.Mode = syscall.S_IFDIR | 0o755
			return nil
		},
		Getxattr: func(_ *highlevel.Context, _, name string, dst []byte) (int, error) {
			value, ok := attrs[name]
			if !ok {
				return 0, syscall.ENODATA
			}
			return fill(dst, value)
		},
		Setxattr: func(_ *highlevel.Context, _, name string, value []byte, _ int) error {
			attrs[name] = string(value)
			return nil
		},
		Listxattr: func(_ *highlevel.Context, _ string, dst []byte) (int, error) {
			list := ""
			for _, name := range slices.Sorted(maps.Keys(attrs)) {
				list += name + "\x00"
			}
			return fill(dst, list)
		},
		Removexattr: func(_ *highlevel.Context, _, name string) error {
			delete(attrs, name)
			return nil
		},
	}
	drive(ops, func(k *fusetest.Kernel) {
		_, n, err := k.Getxattr(lowlevel.RootID, "user.color", 0)
		fmt.Println(n, err)
		_, _, err = k.Getxattr(lowlevel.RootID, "user.color", 2)
		fmt.Println(err)
		fmt.Println(k.Setxattr(lowlevel.RootID, "user.size", []byte("big"), 0))
		list, _, err := k.Listxattr(lowlevel.RootID, 100)
		fmt.Println(list, err)
		fmt.Println(k.Removexattr(lowlevel.RootID, "user.color"))
		_, _, err = k.Getxattr(lowlevel.RootID, "user.color", 100)
		fmt.Println(err)
	})

	// Output:
	// 4 <nil>
	// numerical result out of range
	// <nil>
	// [user.color user.size] <nil>
	// <nil>
	// no data available
}
