//go:build linux

package lowlevel_test

import (
	"fmt"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// nameServer is a tree of directories. Nodes gives each path its number, and counts how often the kernel has looked it up.
type nameServer struct {
	dirs  map[string]bool
	nodes lowlevel.Nodes[string, string] // by path; the value is the path, too
}

func (s *nameServer) entry(path string) *lowlevel.Entry {
	id, _, _ := s.nodes.Ref(path, func() string { return path })
	return &lowlevel.Entry{
		NodeID: id, Attr: lowlevel.Stat{Ino: uint64(id), Mode: syscall.S_IFDIR | 0o755, Nlink: 2},
		AttrTimeout: time.Second, EntryTimeout: time.Second,
	}
}

func (s *nameServer) lookup(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name) {
	dir, ok := s.nodes.Get(parent)
	if path := dir + "/" + name.String(); ok && s.dirs[path] {
		r.ReplyEntry(s.entry(path))
		return
	}
	r.ReplyErr(syscall.ENOENT)
}

func (s *nameServer) forget(r lowlevel.NoneReq, ino lowlevel.NodeID, n uint64) {
	s.nodes.Forget(ino, n)
	r.ReplyNone()
}

func (s *nameServer) mkdir(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name, mode uint32) {
	dir, ok := s.nodes.Get(parent)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	path := dir + "/" + name.String()
	s.dirs[path] = true
	r.ReplyEntry(s.entry(path))
}

func (s *nameServer) rmdir(r lowlevel.ErrReq, parent lowlevel.NodeID, name lowlevel.Name) {
	dir, _ := s.nodes.Get(parent)
	delete(s.dirs, dir+"/"+name.String())
	r.ReplyOK() // the number stays good until the kernel forgets it
}

func (s *nameServer) getattr(r lowlevel.AttrReq, ino lowlevel.NodeID, _ *lowlevel.FileInfo) {
	if _, ok := s.nodes.Get(ino); !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	r.ReplyAttr(&lowlevel.Stat{Ino: uint64(ino), Mode: syscall.S_IFDIR | 0o755, Nlink: 2}, time.Second)
}

// Names, inode numbers and lookup counts.
func ExampleOperations_names() {
	s := &nameServer{dirs: map[string]bool{}}
	s.nodes.SetRoot("", "")
	ops := &lowlevel.Operations{Lookup: s.lookup, Forget: s.forget, Mkdir: s.mkdir, Rmdir: s.rmdir, Getattr: s.getattr}
	drive(ops, func(k *fusetest.Kernel) {
		a, err := k.Mkdir(lowlevel.RootID, "a", 0o755)
		fmt.Println(err)
		again, err := k.Lookup(lowlevel.RootID, "a")
		fmt.Println(again.NodeID == a.NodeID, err)
		fmt.Println(k.Rmdir(lowlevel.RootID, "a"))
		_, err = k.Getattr(a.NodeID)
		fmt.Println(err)
		k.Forget(a.NodeID, 2)
		_, err = k.Lookup(lowlevel.RootID, "a")
		fmt.Println(err)
	})

	// Output:
	// <nil>
	// true <nil>
	// <nil>
	// <nil>
	// no such file or directory
}
