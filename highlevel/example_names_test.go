//go:build linux

package highlevel_test

import (
	"fmt"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

// nameTree is a file system of directories and symlinks, by path. The library lets no other operation change the path of one that
// is running, but it does not guard the map: a file system that is served by several workers needs a mutex.
type nameTree map[string]highlevel.Stat

func (t nameTree) getattr(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
	have, ok := t[path]
	if !ok {
		return syscall.ENOENT
	}
	*st = have
	return nil
}

func (t nameTree) mkdir(c *highlevel.Context, path string, mode uint32) error {
	t[path] = highlevel.Stat{Mode: syscall.S_IFDIR | mode, Nlink: 2, UID: c.UID, GID: c.GID, Mtime: lowlevel.TimeOf(time.Now())}
	return nil
}

func (t nameTree) rename(_ *highlevel.Context, from, to string, flags uint32) error {
	if flags != 0 {
		return syscall.EINVAL
	}
	t[to] = t[from]
	delete(t, from)
	return nil
}

func (t nameTree) rmdir(_ *highlevel.Context, path string) error {
	delete(t, path)
	return nil
}

func (t nameTree) chmod(_ *highlevel.Context, path string, mode uint32, _ *highlevel.FileInfo) error {
	st := t[path]
	st.Mode = st.Mode&syscall.S_IFMT | mode&0o7777
	t[path] = st
	return nil
}

// Names and attributes: what mkdir(2), stat(2), chmod(2), rename(2) and rmdir(2) lead to.
func ExampleOperations_names() {
	t := nameTree{"/": {Mode: syscall.S_IFDIR | 0o755, Nlink: 2}}
	ops := &highlevel.Operations{Getattr: t.getattr, Mkdir: t.mkdir, Rename: t.rename, Rmdir: t.rmdir, Chmod: t.chmod}
	drive(ops, func(k *fusetest.Kernel) {
		dir, err := k.Mkdir(lowlevel.RootID, "a", 0o755)
		fmt.Println(err)
		attr, err := k.Chmod(dir.NodeID, 0o700)
		fmt.Printf("%o %v\n", attr.Mode, err)
		fmt.Println(k.Rename(lowlevel.RootID, "a", lowlevel.RootID, "b", 0))
		_, err = k.Lookup(lowlevel.RootID, "a")
		fmt.Println(err)
		fmt.Println(k.Rmdir(lowlevel.RootID, "b"))
	})

	// Output:
	// <nil>
	// 40700 <nil>
	// <nil>
	// no such file or directory
	// <nil>
}
