//go:build linux

package main

import (
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
)

// A file handle is the number of the descriptor below.

// flags are the open flags for the file below.
func (p *passthrough) flags(fi *ll.FileInfo) int {
	f := int(fi.Flags)
	if p.writeback {
		// The kernel reads the pages that it writes in part, and appends by itself.
		if f&syscall.O_ACCMODE == syscall.O_WRONLY {
			f = f&^syscall.O_ACCMODE | syscall.O_RDWR
		}
		f &^= syscall.O_APPEND
	}
	return f
}

// answer fills in what the kernel is told of an open file.
func (p *passthrough) answer(fi *ll.FileInfo, fd int) {
	fi.FH = uint64(fd)
	fi.DirectIO = p.cache == cacheNever
	fi.KeepCache = p.cache == cacheAlways
	fi.ParallelDirectWrites = true // matters with DirectIO
}

func (p *passthrough) open(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	if fi.KillPriv {
		p.dropPrivileges(node)
	}
	var b fdPath
	fd, err := sys.Openat(sys.AtFDCWD, node.path(&b), p.flags(fi)&^syscall.O_NOFOLLOW, 0)
	if err != nil {
		fail(r.Req, err)
		return
	}
	p.answer(fi, fd)
	if fi.Flags&syscall.O_DIRECT != 0 {
		fi.DirectIO = true // which lets direct writes run in parallel
	}
	r.ReplyOpen(fi)
}

func (p *passthrough) create(r ll.CreateReq, parent ll.NodeID, name ll.Name, mode uint32, fi *ll.FileInfo) {
	p.openNew(r, parent, name.CStr(), p.flags(fi)|syscall.O_CREAT|syscall.O_NOFOLLOW, mode, fi)
}

func (p *passthrough) tmpfile(r ll.CreateReq, parent ll.NodeID, mode uint32, fi *ll.FileInfo) {
	p.openNew(r, parent, sys.Dot, p.flags(fi)|sys.OTmpfile, mode, fi)
}

func (p *passthrough) openNew(r ll.CreateReq, parent ll.NodeID, name sys.CName, flags int, mode uint32, fi *ll.FileInfo) {
	dir, ok := p.nodes.Get(parent)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	fd, err := sys.Openat(dir.fd, name, flags, mode)
	if err != nil {
		fail(r.Req, err)
		return
	}
	if fi.KillPriv { // the file may have been there, unknown to the kernel
		p.dropPrivileges(inode{fd: fd})
	}
	var e ll.Entry
	if err := p.opened(fd, &e); err != nil {
		sys.Close(fd)
		fail(r.Req, err)
		return
	}
	p.answer(fi, fd)
	r.ReplyCreate(&e, fi)
}

func (p *passthrough) release(r ll.ErrReq, _ ll.NodeID, fi *ll.FileInfo) {
	sys.Close(int(fi.FH))
	r.ReplyOK()
}

func (p *passthrough) flush(r ll.ErrReq, _ ll.NodeID, fi *ll.FileInfo) {
	fd, err := sys.Dup(int(fi.FH))
	if err == nil {
		err = sys.Close(fd) // what a close has to say
	}
	fail(r.Req, err)
}

func (p *passthrough) fsync(r ll.ErrReq, _ ll.NodeID, datasync bool, fi *ll.FileInfo) {
	fail(r.Req, syncFile(int(fi.FH), datasync))
}

func syncFile(fd int, datasync bool) error {
	if datasync {
		return sys.Fdatasync(fd)
	}
	return sys.Fsync(fd)
}

func (p *passthrough) read(r ll.DataReq, _ ll.NodeID, size int, off int64, fi *ll.FileInfo) {
	room := r.Room(size)
	n, err := sys.Pread(int(fi.FH), room, off)
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyBuf(room[:n])
}

func (p *passthrough) writeBuf(r ll.WriteReq, ino ll.NodeID, buf *ll.BufVec, off int64, fi *ll.FileInfo) {
	p.drop(ino, fi.KillPriv)
	var n int
	var err error
	if len(buf.Bufs) == 1 && !buf.Bufs[0].IsFD {
		n, err = sys.Pwrite(int(fi.FH), buf.Bufs[0].Mem, off)
		if err == syscall.EINVAL && fi.WritePage {
			n, err = p.writePages(ino, buf.Bufs[0].Mem, off)
		}
	} else {
		n, err = ll.Copy(ll.FileVec(int(fi.FH), buf.Size(), off), buf, 0)
	}
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyWrite(n)
}

// writePages writes what the kernel's page cache holds: it may have chosen a handle opened with O_DIRECT, through which
// the end of a file can not be written.
func (p *passthrough) writePages(ino ll.NodeID, data []byte, off int64) (int, error) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		return 0, syscall.ESTALE
	}
	var b fdPath
	fd, err := sys.Openat(sys.AtFDCWD, node.path(&b), syscall.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer sys.Close(fd)
	return sys.Pwrite(fd, data, off)
}

// unprivileged reports whether the kernel leaves it to the server to drop privileges for a caller who is not root, and has
// no way to ask for it.
func (p *passthrough) unprivileged(r ll.Req) bool { return p.killPriv && r.Caller().UID != 0 }

func (p *passthrough) fallocate(r ll.ErrReq, ino ll.NodeID, mode uint32, off, length int64, fi *ll.FileInfo) {
	p.drop(ino, p.unprivileged(r.Req))
	fail(r.Req, sys.Fallocate(int(fi.FH), mode, off, length))
}

func (p *passthrough) copyFileRange(r ll.WriteReq, _ ll.NodeID, off int64, fi *ll.FileInfo, out ll.NodeID, outOff int64, outFi *ll.FileInfo, n uint64, flags uint32) {
	p.drop(out, p.unprivileged(r.Req))
	const limit = 1 << 30 // the caller goes on from there
	m, err := sys.CopyFileRange(int(fi.FH), off, int(outFi.FH), outOff, int(min(n, limit)), int(flags))
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyWrite(m)
}

func (p *passthrough) lseek(r ll.SeekReq, _ ll.NodeID, off int64, whence int, fi *ll.FileInfo) {
	off, err := sys.Seek(int(fi.FH), off, whence)
	if err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyLseek(off)
}

func (p *passthrough) lock(r ll.ErrReq, _ ll.NodeID, fi *ll.FileInfo, op int) {
	err := sys.Flock(int(fi.FH), op|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK && op&syscall.LOCK_NB == 0 {
		err = p.kicker.Wait(r.Context(), func() error { return sys.Flock(int(fi.FH), op) })
	}
	fail(r.Req, err)
}
