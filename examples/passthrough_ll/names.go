//go:build linux

package main

import (
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
)

func (p *passthrough) mknod(r ll.EntryReq, parent ll.NodeID, name ll.Name, mode, rdev uint32) {
	p.make(r, parent, name, func(dir inode) error { return sys.Mknodat(dir.fd, name.CStr(), mode, rdev) })
}

func (p *passthrough) mkdir(r ll.EntryReq, parent ll.NodeID, name ll.Name, mode uint32) {
	p.make(r, parent, name, func(dir inode) error { return sys.Mkdirat(dir.fd, name.CStr(), mode) })
}

func (p *passthrough) symlink(r ll.EntryReq, target ll.Name, parent ll.NodeID, name ll.Name) {
	p.make(r, parent, name, func(dir inode) error { return sys.Symlinkat(target.CStr(), dir.fd, name.CStr()) })
}

// make creates something with a name and answers with it.
func (p *passthrough) make(r ll.EntryReq, parent ll.NodeID, name ll.Name, create func(dir inode) error) {
	dir, ok := p.nodes.Get(parent)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	if err := create(dir); err != nil {
		fail(r.Req, err)
		return
	}
	p.replyEntry(r, dir, name)
}

func (p *passthrough) link(r ll.EntryReq, ino, newparent ll.NodeID, newname ll.Name) {
	node, ok := p.nodes.Get(ino)
	dir, ok2 := p.nodes.Get(newparent)
	if !ok || !ok2 {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	var b fdPath
	if err := sys.Linkat(sys.AtFDCWD, node.path(&b), dir.fd, newname.CStr(), sys.AtFollow); err != nil {
		fail(r.Req, err)
		return
	}
	var st syscall.Stat_t
	if err := sys.Fstat(node.fd, &st); err != nil {
		fail(r.Req, err)
		return
	}
	var e ll.Entry
	p.nodes.Add(ino, 1)
	p.entry(&e, ino, &st)
	r.ReplyEntry(&e)
}

func (p *passthrough) unlink(r ll.ErrReq, parent ll.NodeID, name ll.Name) {
	p.remove(r, parent, name, 0)
}

func (p *passthrough) rmdir(r ll.ErrReq, parent ll.NodeID, name ll.Name) {
	p.remove(r, parent, name, sys.AtRemoveDir)
}

func (p *passthrough) remove(r ll.ErrReq, parent ll.NodeID, name ll.Name, flags int) {
	dir, ok := p.nodes.Get(parent)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	fail(r.Req, sys.Unlinkat(dir.fd, name.CStr(), flags))
}

func (p *passthrough) rename(r ll.ErrReq, parent ll.NodeID, name ll.Name, newparent ll.NodeID, newname ll.Name, flags uint32) {
	from, ok := p.nodes.Get(parent)
	to, ok2 := p.nodes.Get(newparent)
	if !ok || !ok2 {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	fail(r.Req, sys.Renameat2(from.fd, name.CStr(), to.fd, newname.CStr(), flags))
}

// scratch lends memory for short answers.
var scratch = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (p *passthrough) readlink(r ll.LinkReq, ino ll.NodeID) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	buf := scratch.Get().(*[64 << 10]byte)
	defer scratch.Put(buf)
	n, err := sys.Readlinkat(node.fd, sys.Empty, buf[:])
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyBuf(buf[:n])
}
