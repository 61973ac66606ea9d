//go:build linux

package lowlevel

import (
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// The replies look at what their pointers point to before they claim the request: a nil pointer panics while the request
// can still be answered with EIO.

// One type for each kind of answer, so that a wrong reply does not compile.
type (
	ErrReq    struct{ Req } // success without a result, ReplyOK
	NoneReq   struct{ Req } // nothing goes back, ReplyNone
	EntryReq  struct{ Req } // an Entry
	AttrReq   struct{ Req } // a Stat
	LinkReq   struct{ Req } // the target of a symlink
	OpenReq   struct{ Req } // a FileInfo
	CreateReq struct{ Req } // an Entry and a FileInfo
	DataReq   struct{ Req } // bytes
	WriteReq  struct{ Req } // how many bytes were taken
	DirReq    struct{ Req } // directory entries
	PlusReq   struct{ Req } // directory entries with attributes
	XattrReq  struct{ Req } // a size, or bytes
	StatfsReq struct{ Req } // a Statfs
	LockReq   struct{ Req } // a Flock
	BmapReq   struct{ Req } // a block number
	IoctlReq  struct{ Req } // a result and bytes, or what to copy first
	PollReq   struct{ Req } // events
	SeekReq   struct{ Req } // an offset
	StatxReq  struct{ Req } // a Statx
)

// ReplyOK answers with success.
func (r ErrReq) ReplyOK() error { return r.ReplyErr(0) }

// ReplyNone consumes a request to which nothing is answered.
func (r NoneReq) ReplyNone() {
	if p, err := r.claim(); err == nil {
		p.drop()
	}
}

// ReplyErr consumes the request: no error goes back from it either.
func (r NoneReq) ReplyErr(Errno) error {
	p, err := r.claim()
	if err == nil {
		p.drop()
	}
	return err
}

// ReplyEntry answers with what was found or made, and so adds one to its lookup count. A NodeID of 0 says that there is
// nothing, which kernels before minor 4 get as ENOENT.
func (r EntryReq) ReplyEntry(e *Entry) error {
	_ = *e
	p, err := r.claim()
	if err != nil {
		return err
	}
	if e.NodeID == 0 && p.s.minor() < 4 {
		return p.fail(syscall.ENOENT)
	}
	return p.send(0, p.putEntry(e), 0)
}

// putEntry builds an entry_out and returns its size.
func (p *Request) putEntry(e *Entry) int {
	e.put(fixed[wire.EntryOut](p))
	if p.s.minor() < 9 {
		return wire.CompatEntryOutSize
	}
	return entryOutSize
}

// ReplyAttr answers with attributes that the kernel may believe for timeout.
func (r AttrReq) ReplyAttr(st *Stat, timeout time.Duration) error {
	_ = *st
	p, err := r.claim()
	if err != nil {
		return err
	}
	o := fixed[wire.AttrOut](p)
	o.AttrValid, o.AttrValidNsec = split(timeout)
	o.Dummy = 0
	st.put(&o.Attr)
	if p.s.minor() < 9 {
		return p.send(0, wire.CompatAttrOutSize, 0)
	}
	return p.send(0, attrOutSize, 0)
}

// ReplyReadlink answers with the symlink's target, which must be shorter than a page.
func (r LinkReq) ReplyReadlink(target string) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	room := p.q.Room(p.f, len(target))
	p.iov[0] = room[:copy(room, target)]
	return p.send(0, 0, 1)
}

// ReplyBuf answers with the symlink's target.
func (r LinkReq) ReplyBuf(target []byte) error { return r.replyParts(target) }

// ReplyOpen answers with the file handle and the open flags in fi.
func (r OpenReq) ReplyOpen(fi *FileInfo) error {
	_ = *fi
	p, err := r.claim()
	if err != nil {
		return err
	}
	o := fixed[wire.OpenOut](p)
	fi.put(o)
	return p.send(0, sys.SizeOf[wire.OpenOut](), 0)
}

// ReplyCreate answers with what was made and opened.
func (r CreateReq) ReplyCreate(e *Entry, fi *FileInfo) error {
	_, _ = *e, *fi
	p, err := r.claim()
	if err != nil {
		return err
	}
	n := p.putEntry(e)
	o := sys.As[wire.OpenOut](sys.Words(p.out[:])[headSize+n:])
	fi.put(o)
	return p.send(0, n+sys.SizeOf[wire.OpenOut](), 0)
}

// Backing registers an open file for passthrough; its id goes into FileInfo.Backing. The descriptor may be closed afterwards.
// It needs CapPassthrough and CAP_SYS_ADMIN.
func (r OpenReq) Backing(fd int) (BackingID, error) { return r.p.s.OpenBacking(fd) }

// Backing is OpenReq.Backing.
func (r CreateReq) Backing(fd int) (BackingID, error) { return r.p.s.OpenBacking(fd) }

// replyParts answers with the concatenation of parts.
func (r Req) replyParts(parts ...[]byte) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	return p.sendParts(0, parts)
}

// sendParts sends n fixed bytes and then parts, joining the last ones if they are many.
func (p *Request) sendParts(n int, parts [][]byte) error {
	if len(parts) > len(p.iov) {
		var rest []byte
		for _, b := range parts[len(p.iov)-1:] {
			rest = append(rest, b...)
		}
		p.iov[len(p.iov)-1] = rest
		parts = parts[:len(p.iov)-1]
		copy(p.iov[:], parts)
		return p.send(0, n, len(p.iov))
	}
	return p.send(0, n, copy(p.iov[:], parts))
}

// Room returns n bytes of the transport's memory: data that is put there needs no further copy when it is replied.
func (r DataReq) Room(n int) []byte { return r.p.q.Room(r.p.f, n) }

// ReplyBuf answers with data; fewer bytes than asked for mean the end of the file.
func (r DataReq) ReplyBuf(data []byte) error { return r.replyParts(data) }

// ReplyIOV answers with the concatenation of parts.
func (r DataReq) ReplyIOV(parts ...[]byte) error { return r.replyParts(parts...) }

// ReplyData answers with what v holds, memory and files. An error of reading a file becomes the answer.
func (r DataReq) ReplyData(v *BufVec, flags CopyFlags) error {
	_ = *v
	p, err := r.claim()
	if err != nil {
		return err
	}
	if b, ok := v.single(); ok {
		p.iov[0] = b
		return p.send(0, 0, 1)
	}
	room, n, err := p.gather(v, flags)
	if err != nil {
		return p.fail(ErrnoOf(err))
	}
	p.iov[0] = room[:n]
	return p.send(0, 0, 1)
}

// gather copies what v holds into a reply room. A vector that makes no sense panics, but not before the caller has its answer.
func (p *Request) gather(v *BufVec, flags CopyFlags) (room []byte, n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.fail(syscall.EIO)
			panic(v)
		}
	}()
	room = p.q.Room(p.f, v.Size())
	n, err = Copy(MemVec(room), v, flags)
	return room, n, err
}

// ReplyWrite answers with how many bytes were taken.
func (r WriteReq) ReplyWrite(n int) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	if p.code == wire.OpCopyFileRange64 {
		*fixed[wire.CopyFileRangeOut](p) = wire.CopyFileRangeOut{BytesCopied: uint64(n)}
	} else {
		*fixed[wire.WriteOut](p) = wire.WriteOut{Size: uint32(n)}
	}
	return p.send(0, 8, 0)
}

// ReplyXattr answers a request of size 0 with the size of what there is.
func (r XattrReq) ReplyXattr(n int) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.GetxattrOut](p) = wire.GetxattrOut{Size: uint32(n)}
	return p.send(0, sys.SizeOf[wire.GetxattrOut](), 0)
}

// ReplyBuf answers with the value, or the NUL-terminated names.
func (r XattrReq) ReplyBuf(data []byte) error { return r.replyParts(data) }

// ReplyStatfs answers with st.
func (r StatfsReq) ReplyStatfs(st *Statfs) error {
	_ = *st
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.StatfsOut](p) = wire.StatfsOut{St: wire.Kstatfs{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: st.Bsize, NameLen: st.NameMax, Frsize: st.Frsize,
	}}
	if p.s.minor() < 4 {
		return p.send(0, wire.CompatStatfsSize, 0)
	}
	return p.send(0, sys.SizeOf[wire.StatfsOut](), 0)
}

// ReplyLock answers with the lock in the way, or F_UNLCK.
func (r LockReq) ReplyLock(l *Flock) error {
	_ = *l
	p, err := r.claim()
	if err != nil {
		return err
	}
	o := wire.FileLock{Type: uint32(int32(l.Type)), PID: l.PID}
	if l.Type != syscall.F_UNLCK {
		o.Start, o.End = l.Start, l.End
	}
	*fixed[wire.LKOut](p) = wire.LKOut{LK: o}
	return p.send(0, sys.SizeOf[wire.LKOut](), 0)
}

// ReplyBmap answers with a block number of the device.
func (r BmapReq) ReplyBmap(block uint64) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.BmapOut](p) = wire.BmapOut{Block: block}
	return p.send(0, sys.SizeOf[wire.BmapOut](), 0)
}

// ReplyIoctl answers with ioctl(2)'s result, a negative one being an errno, and what is copied to the caller.
func (r IoctlReq) ReplyIoctl(result int32, parts ...[]byte) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.IoctlOut](p) = wire.IoctlOut{Result: result}
	return p.sendParts(sys.SizeOf[wire.IoctlOut](), parts)
}

// ReplyIoctlRetry asks the kernel to call again with the caller's memory in copied in, and with room for out. Only
// unrestricted ioctls (CUSE) may do that, with up to 256 pieces.
func (r IoctlReq) ReplyIoctlRetry(in, out []IOVec) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.IoctlOut](p) = wire.IoctlOut{Flags: uint32(wire.IoctlRetry), InIovs: uint32(len(in)), OutIovs: uint32(len(out))}
	vec := make([]byte, 0, (len(in)+len(out))*sys.SizeOf[IOVec]())
	for _, v := range append(in[:len(in):len(in)], out...) {
		if p.s.minor() < 16 { // the kernel reads the native struct iovec
			native := [2]uintptr{uintptr(v.Base), uintptr(v.Len)}
			vec = append(vec, sys.Bytes(&native)...)
		} else {
			vec = append(vec, sys.Bytes(&v)...)
		}
	}
	p.iov[0] = vec
	return p.send(0, sys.SizeOf[wire.IoctlOut](), 1)
}

// ReplyPoll answers with the events that are ready.
func (r PollReq) ReplyPoll(revents uint32) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.PollOut](p) = wire.PollOut{Revents: revents}
	return p.send(0, sys.SizeOf[wire.PollOut](), 0)
}

// ReplyLseek answers with an offset.
func (r SeekReq) ReplyLseek(off int64) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	*fixed[wire.LseekOut](p) = wire.LseekOut{Offset: uint64(off)}
	return p.send(0, sys.SizeOf[wire.LseekOut](), 0)
}

// ReplyStatx answers with st, whose basic fields the kernel may believe for timeout.
func (r StatxReq) ReplyStatx(st *Statx, timeout time.Duration) error {
	_ = *st
	p, err := r.claim()
	if err != nil {
		return err
	}
	o := fixed[wire.StatxOut](p)
	*o = wire.StatxOut{}
	o.AttrValid, o.AttrValidNsec = split(timeout)
	st.put(&o.Stat)
	return p.send(0, sys.SizeOf[wire.StatxOut](), 0)
}
