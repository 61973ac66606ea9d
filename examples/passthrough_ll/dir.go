//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
)

// directory is an open directory: a descriptor and what was read from it ahead.
type directory struct {
	mu   sync.Mutex
	fd   int
	buf  *[32 << 10]byte // nil until it is read
	left []byte          // records in buf that were not handed on
	off  uint64          // where they begin

	rec record // the one at hand, kept here so that listing allocates nothing
	e   ll.Entry
}

var listings = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// record is one struct linux_dirent64; its memory is the directory's.
type record struct {
	ino, next uint64 // next is where the listing goes on after it
	name      []byte
	mode      uint32
	size      int
}

// the layout of struct linux_dirent64.
const (
	recordNext = 8
	recordSize = 16
	recordType = 18
	recordName = 19
)

// seek makes the record at off the next one.
func (d *directory) seek(off uint64) error {
	if d.buf == nil {
		d.buf = listings.Get().(*[32 << 10]byte)
	} else if off == d.off && off != 0 {
		return nil
	}
	d.left, d.off = nil, off
	_, err := sys.Seek(d.fd, int64(off), 0)
	return err
}

// peek returns the next record without stepping over it; false at the end.
func (d *directory) peek(rec *record) (bool, error) {
	if len(d.left) == 0 {
		n, err := sys.Getdents(d.fd, d.buf[:])
		if n <= 0 || err != nil {
			return false, err
		}
		d.left = d.buf[:n]
	}
	ne := binary.NativeEndian
	rec.size = int(ne.Uint16(d.left[recordSize:]))
	rec.ino, rec.next = ne.Uint64(d.left), ne.Uint64(d.left[recordNext:])
	rec.mode = uint32(d.left[recordType]) << 12
	rec.name = d.left[recordName:rec.size]
	rec.name = rec.name[:bytes.IndexByte(rec.name, 0)]
	return true, nil
}

// step steps over the record that was peeked at.
func (d *directory) step(rec *record) { d.left, d.off = d.left[rec.size:], rec.next }

// cname is the record's name with its NUL.
func (rec *record) cname() sys.CName { return &rec.name[0] }

func (rec *record) dots() bool { return string(rec.name) == "." || string(rec.name) == ".." }

func (p *passthrough) opendir(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	fd, err := sys.Openat(node.fd, sys.Dot, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		fail(r.Req, err)
		return
	}
	fi.FH = p.dirs.Put(&directory{fd: fd})
	// Without KeepCache the kernel would collect the listing only to drop it at the next open.
	fi.CacheReaddir = p.cache == cacheAlways
	fi.KeepCache = p.cache == cacheAlways
	r.ReplyOpen(fi)
}

func (p *passthrough) releasedir(r ll.ErrReq, _ ll.NodeID, fi *ll.FileInfo) {
	d, ok := p.dirs.Take(fi.FH)
	if !ok {
		r.ReplyErr(syscall.EBADF)
		return
	}
	sys.Close(d.fd)
	if d.buf != nil {
		listings.Put(d.buf)
	}
	r.ReplyOK()
}

func (p *passthrough) fsyncdir(r ll.ErrReq, _ ll.NodeID, datasync bool, fi *ll.FileInfo) {
	d, ok := p.dirs.Get(fi.FH)
	if !ok {
		r.ReplyErr(syscall.EBADF)
		return
	}
	fail(r.Req, syncFile(d.fd, datasync))
}

func (p *passthrough) readdir(r ll.DirReq, _ ll.NodeID, _ int, off uint64, fi *ll.FileInfo) {
	d, ok := p.dirs.Get(fi.FH)
	if !ok {
		r.ReplyErr(syscall.EBADF)
		return
	}
	err := d.list(off, func(rec *record) bool {
		return r.AddBytes(rec.name, &ll.Stat{Ino: rec.ino, Mode: rec.mode}, rec.next)
	})
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.Reply()
}

func (p *passthrough) readdirplus(r ll.PlusReq, ino ll.NodeID, _ int, off uint64, fi *ll.FileInfo) {
	node, ok := p.nodes.Get(ino)
	d, ok2 := p.dirs.Get(fi.FH)
	if !ok || !ok2 {
		r.ReplyErr(syscall.EBADF)
		return
	}
	err := d.list(off, func(rec *record) bool {
		if !r.Fits(len(rec.name)) {
			return false
		}
		if rec.dots() || p.find(node, rec.cname(), &d.e) != nil {
			// Also what has gone meanwhile is listed, without attributes.
			d.e = ll.Entry{Attr: ll.Stat{Ino: rec.ino, Mode: rec.mode}}
		}
		return r.AddBytes(rec.name, &d.e, rec.next)
	})
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.Reply()
}

// list hands records from off on to add until that returns false. An error counts only if it comes before the first record:
// the kernel has been promised those that were added.
func (d *directory) list(off uint64, add func(*record) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.seek(off); err != nil {
		return err
	}
	rec := &d.rec
	for first := true; ; first = false {
		ok, err := d.peek(rec)
		if err != nil && first {
			return err
		}
		if !ok || !add(rec) {
			return nil
		}
		d.step(rec)
	}
}
