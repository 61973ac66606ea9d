//go:build linux

package main

import (
	"syscall"
	"time"

	ll "github.com/purefuse/purefuse/lowlevel"
)

// The file system is that of hello_ll, without its extended attributes.

const (
	helloName = "hello"
	helloText = "Hello World!\n"
	helloIno  = ll.NodeID(2)
	timeout   = time.Second
)

var operations = ll.Operations{
	Init: func(c *ll.Conn) error {
		c.NoInterrupt = true // everything is answered at once
		return nil
	},
	Lookup:  lookup,
	Getattr: getattr,
	Readdir: readdir,
	Open:    open,
	Read:    read,
}

func stat(ino ll.NodeID) (st ll.Stat, ok bool) {
	switch ino {
	case ll.RootID:
		st = ll.Stat{Mode: syscall.S_IFDIR | 0o755, Nlink: 2}
	case helloIno:
		st = ll.Stat{Mode: syscall.S_IFREG | 0o444, Nlink: 1, Size: uint64(len(helloText))}
	default:
		return st, false
	}
	st.Ino = uint64(ino)
	return st, true
}

func lookup(r ll.EntryReq, parent ll.NodeID, name ll.Name) {
	if parent != ll.RootID || string(name.Bytes()) != helloName {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	st, _ := stat(helloIno)
	r.ReplyEntry(&ll.Entry{NodeID: helloIno, Attr: st, AttrTimeout: timeout, EntryTimeout: timeout})
}

func getattr(r ll.AttrReq, ino ll.NodeID, _ *ll.FileInfo) {
	if st, ok := stat(ino); ok {
		r.ReplyAttr(&st, timeout)
	} else {
		r.ReplyErr(syscall.ENOENT)
	}
}

func readdir(r ll.DirReq, ino ll.NodeID, _ int, off uint64, _ *ll.FileInfo) {
	if ino != ll.RootID {
		r.ReplyErr(syscall.ENOTDIR)
		return
	}
	names := []string{".", "..", helloName}
	inos := []ll.NodeID{ll.RootID, ll.RootID, helloIno}
	for ; off < uint64(len(names)); off++ {
		st, _ := stat(inos[off])
		if !r.Add(names[off], &st, off+1) {
			break
		}
	}
	r.Reply()
}

func open(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	switch {
	case ino != helloIno:
		r.ReplyErr(syscall.EISDIR)
	case fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY:
		r.ReplyErr(syscall.EACCES)
	default:
		r.ReplyOpen(fi)
	}
}

func read(r ll.DataReq, _ ll.NodeID, size int, off int64, _ *ll.FileInfo) {
	off = min(off, int64(len(helloText)))
	end := min(off+int64(size), int64(len(helloText)))
	r.ReplyBuf([]byte(helloText[off:end]))
}
