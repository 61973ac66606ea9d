//go:build linux

package main

import (
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
)

// xattrNode is the inode of an extended-attribute request; without -o xattr there are none.
func (p *passthrough) xattrNode(ino ll.NodeID) (inode, ll.Errno) {
	if !p.xattr {
		return inode{}, syscall.ENOSYS // and the kernel asks no more
	}
	node, ok := p.nodes.Get(ino)
	if !ok {
		return inode{}, syscall.ESTALE
	}
	return node, 0
}

func (p *passthrough) getxattr(r ll.XattrReq, ino ll.NodeID, name ll.Name, size int) {
	node, e := p.xattrNode(ino)
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	var b fdPath
	path := node.path(&b)
	replyXattr(r, size, func(buf []byte) (int, error) { return sys.Getxattr(path, name.CStr(), buf) })
}

func (p *passthrough) listxattr(r ll.XattrReq, ino ll.NodeID, size int) {
	node, e := p.xattrNode(ino)
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	var b fdPath
	path := node.path(&b)
	replyXattr(r, size, func(buf []byte) (int, error) { return sys.Listxattr(path, buf) })
}

// replyXattr answers with what get puts into size bytes, or with how many it would need.
func replyXattr(r ll.XattrReq, size int, get func(buf []byte) (int, error)) {
	if size == 0 {
		n, err := get(nil)
		if err != nil {
			fail(r.Req, err)
			return
		}
		r.ReplyXattr(n)
		return
	}
	buf := scratch.Get().(*[64 << 10]byte)
	defer scratch.Put(buf)
	n, err := get(buf[:min(size, len(buf))]) // no value is larger
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyBuf(buf[:n])
}

func (p *passthrough) setxattr(r ll.ErrReq, ino ll.NodeID, name ll.Name, value []byte, flags uint32) {
	node, e := p.xattrNode(ino)
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	var b fdPath
	fail(r.Req, sys.Setxattr(node.path(&b), name.CStr(), value, flags))
}

func (p *passthrough) removexattr(r ll.ErrReq, ino ll.NodeID, name ll.Name) {
	node, e := p.xattrNode(ino)
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	var b fdPath
	fail(r.Req, sys.Removexattr(node.path(&b), name.CStr()))
}
