//go:build linux

package lowlevel

import (
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

func doOpen(s *Session, p *Request, r Req) { s.open(s.ops.Open, CapNoOpenSupport, p, r) }

func doOpendir(s *Session, p *Request, r Req) { s.open(s.ops.Opendir, CapNoOpendirSupport, p, r) }

func (s *Session) open(op func(OpenReq, NodeID, *FileInfo), without Cap, p *Request, r Req) {
	a := arg[wire.OpenIn](p)
	fi := p.file(0)
	fi.Flags = int32(a.Flags)
	fi.KillPriv = wire.OpenInFlags(a.OpenFlags)&wire.OpenKillSuidgid != 0
	switch {
	case op != nil:
		op(OpenReq{r}, p.ino(), fi)
	case s.conn.Load().Has(without):
		nosys(r)
	default:
		OpenReq{r}.ReplyOpen(&FileInfo{})
	}
}

func doCreate(s *Session, p *Request, r Req) { s.create(s.ops.Create != nil, p, r) }

func doTmpfile(s *Session, p *Request, r Req) { s.create(s.ops.Tmpfile != nil, p, r) }

func (s *Session) create(there bool, p *Request, r Req) {
	if !there {
		nosys(r)
		return
	}
	a := arg[wire.CreateIn](p)
	name, ok := p.name()
	if !ok && p.code == wire.OpCreate { // TMPFILE's is a placeholder
		s.badName(r)
		return
	}
	if s.minor() >= 12 {
		p.umask = a.Umask
	}
	fi := p.file(0)
	fi.Flags = int32(a.Flags)
	fi.KillPriv = wire.OpenInFlags(a.OpenFlags)&wire.OpenKillSuidgid != 0
	if p.code == wire.OpTmpfile {
		s.ops.Tmpfile(CreateReq{r}, p.ino(), a.Mode, fi)
		return
	}
	s.ops.Create(CreateReq{r}, p.ino(), name, a.Mode, fi)
}

func doRead(s *Session, p *Request, r Req) {
	if s.ops.Read == nil {
		nosys(r)
		return
	}
	a := arg[wire.ReadIn](p)
	fi := p.file(a.FH)
	if s.minor() >= 9 {
		fi.LockOwner, fi.Flags = a.LockOwner, int32(a.Flags)
	}
	s.ops.Read(DataReq{r}, p.ino(), size(a.Size), int64(a.Offset), fi)
}

func doWrite(s *Session, p *Request, r Req) {
	if s.ops.Write == nil && s.ops.WriteBuf == nil {
		nosys(r)
		return
	}
	a := arg[wire.WriteIn](p)
	if int64(len(p.data)) < int64(a.Size) {
		s.log.Error("fuse: do_write_buf: buffer size too small", "have", len(p.data), "need", a.Size)
		r.ReplyErr(syscall.EIO)
		return
	}
	fi := p.file(a.FH)
	flags := wire.WriteFlags(a.WriteFlags)
	fi.WritePage, fi.KillPriv = flags&wire.WriteCache != 0, flags&wire.WriteKillSuidgid != 0
	if s.minor() >= 9 {
		fi.LockOwner, fi.Flags = a.LockOwner, int32(a.Flags)
	}
	data := p.data[:a.Size:a.Size]
	if s.ops.WriteBuf != nil {
		s.ops.WriteBuf(WriteReq{r}, p.ino(), p.bufs.mem(data), int64(a.Offset), fi)
		return
	}
	s.ops.Write(WriteReq{r}, p.ino(), data, int64(a.Offset), fi)
}

func doFlush(s *Session, p *Request, r Req) {
	if s.ops.Flush == nil {
		nosys(r)
		return
	}
	a := arg[wire.FlushIn](p)
	fi := p.file(a.FH)
	fi.Flush, fi.LockOwner = true, a.LockOwner
	s.ops.Flush(ErrReq{r}, p.ino(), fi)
}

func doRelease(s *Session, p *Request, r Req) {
	if s.ops.Release == nil {
		r.ReplyErr(0)
		return
	}
	a := arg[wire.ReleaseIn](p)
	fi := p.file(a.FH)
	flags := wire.ReleaseFlags(a.ReleaseFlags)
	fi.Flags, fi.LockOwner = int32(a.Flags), a.LockOwner
	fi.Flush, fi.FlockRelease = flags&wire.ReleaseFlush != 0, flags&wire.ReleaseFlockUnlock != 0
	s.ops.Release(ErrReq{r}, p.ino(), fi)
}

func doReleasedir(s *Session, p *Request, r Req) {
	if s.ops.Releasedir == nil {
		r.ReplyErr(0)
		return
	}
	a := arg[wire.ReleaseIn](p)
	fi := p.file(a.FH)
	fi.Flags = int32(a.Flags)
	s.ops.Releasedir(ErrReq{r}, p.ino(), fi)
}

func doFsync(s *Session, p *Request, r Req) { s.fsync(s.ops.Fsync, p, r) }

func doFsyncdir(s *Session, p *Request, r Req) { s.fsync(s.ops.Fsyncdir, p, r) }

func (s *Session) fsync(op func(ErrReq, NodeID, bool, *FileInfo), p *Request, r Req) {
	if op == nil {
		nosys(r)
		return
	}
	a := arg[wire.FsyncIn](p)
	op(ErrReq{r}, p.ino(), wire.FsyncFlags(a.FsyncFlags)&wire.FsyncDatasync != 0, p.file(a.FH))
}

func doReaddir(s *Session, p *Request, r Req) {
	if s.ops.Readdir == nil {
		nosys(r)
		return
	}
	a := arg[wire.ReadIn](p)
	s.ops.Readdir(DirReq{r}, p.ino(), size(a.Size), a.Offset, p.file(a.FH))
}

func doReaddirplus(s *Session, p *Request, r Req) {
	if s.ops.Readdirplus == nil {
		nosys(r)
		return
	}
	a := arg[wire.ReadIn](p)
	s.ops.Readdirplus(PlusReq{r}, p.ino(), size(a.Size), a.Offset, p.file(a.FH))
}

// lockFile makes the FileInfo and the Flock of a lock request.
func (p *Request) lockFile(a *wire.LKIn) (*FileInfo, *Flock) {
	fi := p.file(a.FH)
	fi.LockOwner = a.Owner
	p.lock = Flock{Type: int16(a.LK.Type), Start: a.LK.Start, End: a.LK.End, PID: a.LK.PID}
	return fi, &p.lock
}

func doGetlk(s *Session, p *Request, r Req) {
	if s.ops.Getlk == nil {
		nosys(r)
		return
	}
	fi, lk := p.lockFile(arg[wire.LKIn](p))
	s.ops.Getlk(LockReq{r}, p.ino(), fi, lk)
}

func doSetlk(s *Session, p *Request, r Req) {
	a := arg[wire.LKIn](p)
	fi, lk := p.lockFile(a)
	sleep := p.code == wire.OpSetlkw
	if wire.LKFlags(a.LKFlags)&wire.LKFlock == 0 {
		if s.ops.Setlk == nil {
			nosys(r)
			return
		}
		s.ops.Setlk(ErrReq{r}, p.ino(), fi, lk, sleep)
		return
	}
	if s.ops.Flock == nil {
		nosys(r)
		return
	}
	op := 0
	switch a.LK.Type { // all its bits: another type is none of these
	case syscall.F_RDLCK:
		op = syscall.LOCK_SH
	case syscall.F_WRLCK:
		op = syscall.LOCK_EX
	case syscall.F_UNLCK:
		op = syscall.LOCK_UN
	}
	if !sleep {
		op |= syscall.LOCK_NB
	}
	s.ops.Flock(ErrReq{r}, p.ino(), fi, op)
}

func doIoctl(s *Session, p *Request, r Req) {
	a := arg[wire.IoctlIn](p)
	if wire.IoctlFlags(a.Flags)&wire.IoctlDir != 0 && !s.conn.Load().Has(CapIoctlDir) {
		r.ReplyErr(syscall.ENOTTY)
		return
	}
	if s.ops.Ioctl == nil {
		nosys(r)
		return
	}
	if int64(len(p.data)) < int64(a.InSize) {
		s.log.Warn("fuse: ioctl data is too short", "have", len(p.data), "need", a.InSize)
		r.ReplyErr(syscall.EIO)
		return
	}
	var in []byte
	if a.InSize > 0 {
		in = p.data[:a.InSize:a.InSize]
	}
	s.ops.Ioctl(IoctlReq{r}, p.ino(), a.Cmd, a.Arg, p.file(a.FH), a.Flags, in, size(a.OutSize))
}

func doPoll(s *Session, p *Request, r Req) {
	if s.ops.Poll == nil {
		nosys(r)
		return
	}
	a := arg[wire.PollIn](p)
	fi := p.file(a.FH)
	fi.PollEvents = a.Events
	var ph *PollHandle
	if wire.PollFlags(a.Flags)&wire.PollScheduleNotify != 0 {
		ph = &PollHandle{s, a.KH}
	}
	s.ops.Poll(PollReq{r}, p.ino(), fi, ph)
}

func doFallocate(s *Session, p *Request, r Req) {
	if s.ops.Fallocate == nil {
		nosys(r)
		return
	}
	a := arg[wire.FallocateIn](p)
	s.ops.Fallocate(ErrReq{r}, p.ino(), a.Mode, int64(a.Offset), int64(a.Length), p.file(a.FH))
}

// copyLimit is what COPY_FILE_RANGE copies at most: its answer has 32 bits, and the kernel wants whole pages.
const copyLimit = 0xfffff000

func doCopyFileRange(s *Session, p *Request, r Req) {
	if s.ops.CopyFileRange == nil {
		nosys(r)
		return
	}
	a := arg[wire.CopyFileRangeIn](p)
	n := a.Len
	if p.code == wire.OpCopyFileRange {
		n = min(n, copyLimit)
	}
	p.fi2 = FileInfo{FH: a.FHOut}
	s.ops.CopyFileRange(WriteReq{r}, p.ino(), int64(a.OffIn), p.file(a.FHIn), NodeID(a.NodeIDOut), int64(a.OffOut), &p.fi2, n, uint32(a.Flags))
}

func doLseek(s *Session, p *Request, r Req) {
	if s.ops.Lseek == nil {
		nosys(r)
		return
	}
	a := arg[wire.LseekIn](p)
	s.ops.Lseek(SeekReq{r}, p.ino(), int64(a.Offset), int(a.Whence), p.file(a.FH))
}
