//go:build linux

package highlevel

import (
	"math"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

func (f *FS) doOpen(r lowlevel.OpenReq, id NodeID, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.at(c, id, nil, false, func(path string, p *want) error {
		if err := f.top.Open(&c.Context, path, fi); Errno(err) != 0 {
			return err
		}
		f.opened(fi)
		if f.cfg.AutoCache {
			f.autoCache(c, p.n, path, fi)
		}
		if f.cfg.NoRofdFlush && fi.Flags&syscall.O_ACCMODE == syscall.O_RDONLY {
			fi.NoFlush = true
		}
		f.mu.Lock()
		f.nowOpen(p.n, fi)
		f.mu.Unlock()
		return nil
	})
	if !c.failed(err) {
		out := *fi // goes with the request
		if r.ReplyOpen(fi) == syscall.ENOENT {
			f.release(c.undoing(), id, &out)
		}
	}
}

// opened applies what Config says of every open.
func (f *FS) opened(fi *FileInfo) {
	if f.cfg.DirectIO {
		fi.DirectIO = true
	}
	if f.cfg.KernelCache {
		fi.KeepCache = true
	}
	if fi.DirectIO && f.cfg.ParallelDirectWrites {
		fi.ParallelDirectWrites = true
	}
}

// autoCache keeps the kernel's cached data if the file has not changed since they were read.
func (f *FS) autoCache(c *call, n *node, path string, fi *FileInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.is(nodeCacheValid) && f.now()-n.more().updated > int64(f.cfg.ACAttrTimeout) {
		f.mu.Unlock()
		c.stat = Stat{}
		err := f.top.Getattr(&c.Context, path, &c.stat, fi)
		f.mu.Lock()
		if Errno(err) == 0 {
			f.observe(n, &c.stat)
		} else {
			n.flags &^= nodeCacheValid
		}
	}
	if n.is(nodeCacheValid) {
		fi.KeepCache = true
	}
	n.flags |= nodeCacheValid
}

func (f *FS) doCreate(r lowlevel.CreateReq, parent NodeID, name lowlevel.Name, mode uint32, fi *FileInfo) {
	c := f.call(r.Req)
	var e lowlevel.Entry
	err := f.at(c, parent, name.Bytes(), false, func(path string, p *want) error {
		if err := f.top.Create(&c.Context, path, mode, fi); Errno(err) != 0 {
			return err
		}
		c.stat = Stat{}
		err := f.top.Getattr(&c.Context, path, &c.stat, fi)
		if Errno(err) == 0 && c.stat.Mode&modeType != modeRegular {
			err = syscall.EIO
		}
		if Errno(err) != 0 {
			f.top.Release(&c.Context, path, fi)
			return err
		}
		f.opened(fi)
		e.Attr = c.stat
		f.mu.Lock()
		n := f.lookedUp(p.n, sys.String(p.name))
		f.entryOf(n, &e)
		f.nowOpen(n, fi)
		f.mu.Unlock()
		return nil
	})
	if !c.failed(err) {
		out := *fi
		if r.ReplyCreate(&e, fi) == syscall.ENOENT {
			f.release(c.undoing(), e.NodeID, &out)
			f.forget(e.NodeID, 1)
		}
	}
}

func (f *FS) doRead(r lowlevel.DataReq, id NodeID, size int, off int64, fi *FileInfo) {
	c := f.call(r.Req)
	var buf *BufVec
	var room []byte
	err := f.on(c, id, func(path string, _ *want) (err error) {
		if f.top.ops.ReadBuf != nil {
			buf, err = f.top.ReadBuf(&c.Context, path, size, off, fi)
			return err
		}
		room = r.Room(size)
		n, err := f.top.Read(&c.Context, path, room, off, fi)
		room = room[:min(max(n, 0), size)]
		return err
	})
	if c.failed(err) {
		return
	}
	if buf == nil {
		r.ReplyBuf(room)
		return
	}
	r.ReplyData(buf, lowlevel.CopySpliceMove)
}

func (f *FS) doWrite(r lowlevel.WriteReq, id NodeID, buf *BufVec, off int64, fi *FileInfo) {
	c := f.call(r.Req)
	n := 0
	err := f.on(c, id, func(path string, _ *want) (err error) {
		n, err = f.top.WriteBuf(&c.Context, path, buf, off, fi)
		return err
	})
	if !c.failed(err) {
		r.ReplyWrite(max(n, 0))
	}
}

// flush is what close(2) of a descriptor leads to: the POSIX locks of its owner go, too.
func (f *FS) flush(c *call, id NodeID, path string, fi *FileInfo) error {
	err := f.top.Flush(&c.Context, path, fi)
	lk := Flock{Type: syscall.F_UNLCK, End: lowlevel.LockEOF}
	if e := f.top.Lock(&c.Context, path, fi, syscall.F_SETLK, &lk); Errno(e) != syscall.ENOSYS {
		f.mu.Lock()
		if n := f.byID(id); n != nil {
			n.setLock(heldLock{Flock: Flock{Type: syscall.F_UNLCK, End: lowlevel.LockEOF}, owner: fi.LockOwner})
		}
		f.mu.Unlock()
		if Errno(err) == syscall.ENOSYS { // the locks need it to be sent
			err = nil
		}
	}
	return err
}

func (f *FS) doFlush(r lowlevel.ErrReq, id NodeID, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.on(c, id, func(path string, _ *want) error { return f.flush(c, id, path, fi) })
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doRelease(r lowlevel.ErrReq, id NodeID, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.release(c, id, fi)
	c.end()
	r.ReplyErr(err)
}

// release ends an open.
func (f *FS) release(c *call, id NodeID, fi *FileInfo) syscall.Errno {
	var unused *node
	err := f.on(c, id, func(path string, _ *want) error {
		var err error
		if fi.Flush {
			if err = f.flush(c, id, path, fi); Errno(err) == syscall.ENOSYS {
				err = nil
			}
		}
		f.notReachable(id, fi.FH)
		f.top.Release(&c.Context, path, fi)
		unused = f.closed(id)
		return err
	})
	if unused != nil {
		f.unlinkHidden(c, unused)
	}
	return err
}

// closed counts a release, and returns the node if it was the last one of a hidden file.
func (f *FS) closed(id NodeID) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.byID(id)
	if n == nil || n.opens == 0 {
		return nil
	}
	if n.opens--; n.opens > 0 || !n.is(nodeHidden) {
		return nil
	}
	return n
}

func (f *FS) doFsync(r lowlevel.ErrReq, id NodeID, datasync bool, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.on(c, id, func(path string, _ *want) error { return f.top.Fsync(&c.Context, path, datasync, fi) })
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doFallocate(r lowlevel.ErrReq, id NodeID, mode uint32, off, length int64, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.on(c, id, func(path string, _ *want) error { return f.top.Fallocate(&c.Context, path, mode, off, length, fi) })
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doCopyFileRange(r lowlevel.WriteReq, id NodeID, off int64, fi *FileInfo, out NodeID, outOff int64, outFi *FileInfo, n uint64, flags uint32) {
	c := f.call(r.Req)
	copied := 0
	err := f.on2(c, id, out, func(from, to string) (err error) {
		copied, err = f.top.CopyFileRange(&c.Context, from, fi, off, to, outFi, outOff, int(min(n, math.MaxInt)), int(flags))
		return err
	})
	if !c.failed(err) {
		r.ReplyWrite(copied)
	}
}

func (f *FS) doLseek(r lowlevel.SeekReq, id NodeID, off int64, whence int, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.at(c, id, nil, false, func(path string, _ *want) (err error) {
		off, err = f.top.Lseek(&c.Context, path, off, whence, fi)
		return err
	})
	if !c.failed(err) {
		r.ReplyLseek(off)
	}
}

func (f *FS) doBmap(r lowlevel.BmapReq, id NodeID, blocksize int, idx uint64) {
	c := f.call(r.Req)
	err := f.at(c, id, nil, false, func(path string, _ *want) (err error) {
		idx, err = f.top.Bmap(&c.Context, path, blocksize, idx)
		return err
	})
	if !c.failed(err) {
		r.ReplyBmap(idx)
	}
}

func (f *FS) doIoctl(r lowlevel.IoctlReq, id NodeID, cmd uint32, arg uint64, fi *FileInfo, flags uint32, in []byte, outSize int) {
	c := f.call(r.Req)
	if wire.IoctlFlags(flags)&wire.IoctlUnrestricted != 0 {
		r.ReplyErr(syscall.EPERM)
		return
	}
	if wire.IoctlFlags(flags)&wire.IoctlDir != 0 {
		d := f.dir(fi.FH)
		if d == nil {
			r.ReplyErr(syscall.EBADF)
			return
		}
		fi.FH = d.fh
	}
	data := in
	if outSize > 0 {
		data = make([]byte, min(outSize, maxIoctl))
		copy(data, in)
	}
	var result int32
	err := f.on(c, id, func(path string, _ *want) (err error) {
		result, err = f.top.Ioctl(&c.Context, path, cmd, arg, fi, flags, data)
		return err
	})
	if c.failed(err) {
		return
	}
	if outSize == 0 {
		data = nil
	}
	r.ReplyIoctl(result, data)
}

// maxIoctl is more than a restricted ioctl can ask for: its size has 14 bits.
const maxIoctl = 1 << 16

func (f *FS) doPoll(r lowlevel.PollReq, id NodeID, fi *FileInfo, ph *PollHandle) {
	c := f.call(r.Req)
	var revents uint32
	err := f.on(c, id, func(path string, _ *want) (err error) {
		revents, err = f.top.Poll(&c.Context, path, fi, ph)
		return err
	})
	if !c.failed(err) {
		r.ReplyPoll(revents)
	}
}

func (f *FS) doSetxattr(r lowlevel.ErrReq, id NodeID, name lowlevel.Name, value []byte, flags uint32) {
	c := f.call(r.Req)
	err := f.at(c, id, nil, false, func(path string, _ *want) error {
		return f.top.Setxattr(&c.Context, path, name.String(), value, int(flags))
	})
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doRemovexattr(r lowlevel.ErrReq, id NodeID, name lowlevel.Name) {
	c := f.call(r.Req)
	err := f.at(c, id, nil, false, func(path string, _ *want) error {
		return f.top.Removexattr(&c.Context, path, name.String())
	})
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doGetxattr(r lowlevel.XattrReq, id NodeID, name lowlevel.Name, size int) {
	f.xattr(r, id, size, func(c *Context, path string, dst []byte) (int, error) {
		return f.top.Getxattr(c, path, name.String(), dst)
	})
}

func (f *FS) doListxattr(r lowlevel.XattrReq, id NodeID, size int) {
	f.xattr(r, id, size, f.top.Listxattr)
}

// maxXattr is the kernel's bound of values and lists.
const maxXattr = 1 << 16

func (f *FS) xattr(r lowlevel.XattrReq, id NodeID, size int, get func(c *Context, path string, dst []byte) (int, error)) {
	c := f.call(r.Req)
	var dst []byte
	n := 0
	err := f.at(c, id, nil, false, func(path string, _ *want) (err error) {
		if size > 0 {
			dst = make([]byte, min(size, maxXattr))
		}
		n, err = get(&c.Context, path, dst)
		return err
	})
	switch {
	case c.failed(err):
	case size == 0:
		r.ReplyXattr(n)
	case n > len(dst):
		r.ReplyErr(syscall.ERANGE)
	default:
		r.ReplyBuf(dst[:max(n, 0)])
	}
}
