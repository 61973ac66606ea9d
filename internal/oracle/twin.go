//go:build linux

package oracle

import (
	"fmt"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// operations is the script as a file system, with the operations of the session's mask.
func (s *script) operations() *lowlevel.Operations {
	all := &lowlevel.Operations{
		Init:     s.init,
		Destroy:  func() { s.line("destroy") },
		Lookup:   s.lookup,
		Forget:   s.forget,
		Getattr:  s.getattr,
		Setattr:  s.setattr,
		Readlink: s.readlink,
		Mknod:    s.mknod,
		Mkdir:    s.mkdir,
		Unlink:   func(r lowlevel.ErrReq, parent lowlevel.NodeID, n lowlevel.Name) { s.remove("unlink", r, parent, n) },
		Rmdir:    func(r lowlevel.ErrReq, parent lowlevel.NodeID, n lowlevel.Name) { s.remove("rmdir", r, parent, n) },
		Symlink:  s.symlink,
		Rename:   s.rename,
		Link:     s.link,
		Open:     func(r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) { s.openFile("open", r, ino, fi) },
		Read:     s.read,
		Write:    s.write,
		Flush:    func(r lowlevel.ErrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) { s.done("flush", r, ino, fi) },
		Release:  func(r lowlevel.ErrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) { s.done("release", r, ino, fi) },
		Fsync: func(r lowlevel.ErrReq, ino lowlevel.NodeID, d bool, fi *lowlevel.FileInfo) {
			s.sync("fsync", r, ino, d, fi)
		},
		Opendir: func(r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
			s.openFile("opendir", r, ino, fi)
		},
		Readdir:    s.readdir,
		Releasedir: func(r lowlevel.ErrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) { s.done("releasedir", r, ino, fi) },
		Fsyncdir: func(r lowlevel.ErrReq, ino lowlevel.NodeID, d bool, fi *lowlevel.FileInfo) {
			s.sync("fsyncdir", r, ino, d, fi)
		},
		Statfs:        s.statfs,
		Setxattr:      s.setxattr,
		Getxattr:      s.getxattr,
		Listxattr:     s.listxattr,
		Removexattr:   s.removexattr,
		Access:        s.access,
		Create:        s.create,
		Getlk:         s.getlk,
		Setlk:         s.setlk,
		Bmap:          s.bmap,
		Ioctl:         s.ioctl,
		Poll:          s.poll,
		WriteBuf:      s.writeBuf,
		RetrieveReply: s.retrieveReply,
		ForgetMulti:   s.forgetMulti,
		Flock:         s.flock,
		Fallocate:     s.fallocate,
		Readdirplus:   s.readdirplus,
		CopyFileRange: s.copyFileRange,
		Lseek:         s.lseek,
	}
	for op, clear := range []func(){
		opInit:          func() { all.Init = nil },
		opDestroy:       func() { all.Destroy = nil },
		opLookup:        func() { all.Lookup = nil },
		opForget:        func() { all.Forget = nil },
		opGetattr:       func() { all.Getattr = nil },
		opSetattr:       func() { all.Setattr = nil },
		opReadlink:      func() { all.Readlink = nil },
		opMknod:         func() { all.Mknod = nil },
		opMkdir:         func() { all.Mkdir = nil },
		opUnlink:        func() { all.Unlink = nil },
		opRmdir:         func() { all.Rmdir = nil },
		opSymlink:       func() { all.Symlink = nil },
		opRename:        func() { all.Rename = nil },
		opLink:          func() { all.Link = nil },
		opOpen:          func() { all.Open = nil },
		opRead:          func() { all.Read = nil },
		opWrite:         func() { all.Write = nil },
		opFlush:         func() { all.Flush = nil },
		opRelease:       func() { all.Release = nil },
		opFsync:         func() { all.Fsync = nil },
		opOpendir:       func() { all.Opendir = nil },
		opReaddir:       func() { all.Readdir = nil },
		opReleasedir:    func() { all.Releasedir = nil },
		opFsyncdir:      func() { all.Fsyncdir = nil },
		opStatfs:        func() { all.Statfs = nil },
		opSetxattr:      func() { all.Setxattr = nil },
		opGetxattr:      func() { all.Getxattr = nil },
		opListxattr:     func() { all.Listxattr = nil },
		opRemovexattr:   func() { all.Removexattr = nil },
		opAccess:        func() { all.Access = nil },
		opCreate:        func() { all.Create = nil },
		opGetlk:         func() { all.Getlk = nil },
		opSetlk:         func() { all.Setlk = nil },
		opBmap:          func() { all.Bmap = nil },
		opIoctl:         func() { all.Ioctl = nil },
		opPoll:          func() { all.Poll = nil },
		opWriteBuf:      func() { all.WriteBuf = nil },
		opRetrieveReply: func() { all.RetrieveReply = nil },
		opForgetMulti:   func() { all.ForgetMulti = nil },
		opFlock:         func() { all.Flock = nil },
		opFallocate:     func() { all.Fallocate = nil },
		opReaddirplus:   func() { all.Readdirplus = nil },
		opCopyFileRange: func() { all.CopyFileRange = nil },
		opLseek:         func() { all.Lseek = nil },
	} {
		if !s.cfg.has(op) {
			clear()
		}
	}
	return all
}

// oracleCaps are the capabilities that libfuse 3.14 knows, without those that only mean splicing.
const oracleCaps = 0x079ffc5b

func (s *script) init(c *lowlevel.Conn) error {
	s.line(fmt.Sprintf("init %d.%d capable=%08x readahead=%d background=%d congestion=%d gran=%d | read=%d write=%d", c.Major, c.Minor,
		uint64(c.Capable&oracleCaps), c.MaxReadahead, c.MaxBackground, c.CongestionThreshold, c.TimeGran, c.MaxRead, c.MaxWrite))
	want := lowlevel.Cap(s.cfg.Want) & oracleCaps
	if s.cfg.Flags&fForceWant == 0 {
		want &= c.Capable
	}
	if err := c.Want(want &^ lowlevel.Cap(s.cfg.Unwant)); err != nil {
		return err
	}
	c.Unwant(lowlevel.Cap(s.cfg.Unwant) & oracleCaps)
	if s.cfg.MaxWrite != 0 {
		c.MaxWrite = s.cfg.MaxWrite
	}
	if s.cfg.MaxReadahead != 0 {
		c.MaxReadahead = s.cfg.MaxReadahead
	}
	if s.cfg.MaxBackground != 0 {
		c.MaxBackground = s.cfg.MaxBackground
	}
	if s.cfg.Congestion != 0 {
		c.CongestionThreshold = s.cfg.Congestion
	}
	if s.cfg.TimeGran != 0 {
		c.TimeGran = s.cfg.TimeGran
	}
	if s.cfg.MaxReadConn != 0 {
		c.MaxRead = s.cfg.MaxReadConn
	}
	return nil
}

func (s *script) replyEntry(r lowlevel.EntryReq) {
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	e := s.entry()
	r.ReplyEntry(&e)
}

func (s *script) replyAttr(r lowlevel.AttrReq) {
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	timeout := s.timeout()
	st := s.stat()
	r.ReplyAttr(&st, timeout)
}

func (s *script) replyOK(r lowlevel.ErrReq) {
	s.begin(r.Req, "")
	if !s.early(r.Req) {
		r.ReplyOK()
	}
}

func (s *script) replyWrite(r lowlevel.WriteReq, asked uint64, extra string) {
	s.begin(r.Req, extra)
	if s.early(r.Req) {
		return
	}
	v := s.next()
	if s.kind < 6 {
		r.ReplyWrite(int(v >> 32))
		return
	}
	r.ReplyWrite(int(v % (asked + 1)))
}

func (s *script) lookup(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name) {
	s.say("lookup parent=%x", parent)
	s.sayName("name", name)
	s.replyEntry(r)
}

func (s *script) forget(r lowlevel.NoneReq, ino lowlevel.NodeID, n uint64) {
	s.say("forget ino=%x n=%x", ino, n)
	s.begin(r.Req, "")
	r.ReplyNone()
}

func (s *script) forgetMulti(r lowlevel.NoneReq, f []lowlevel.Forget) {
	s.say("forget_multi count=%d", len(f))
	for _, f := range f {
		s.say(" %x:%x", f.NodeID, f.N)
	}
	s.begin(r.Req, "")
	r.ReplyNone()
}

func (s *script) getattr(r lowlevel.AttrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
	s.say("getattr ino=%x", ino)
	s.sayFile("fi", fi)
	s.replyAttr(r)
}

func (s *script) setattr(r lowlevel.AttrReq, ino lowlevel.NodeID, a *lowlevel.SetAttr, fi *lowlevel.FileInfo) {
	s.say("setattr ino=%x set=%x mode=%o uid=%d gid=%d size=%x", ino, uint32(a.Valid), a.Mode, a.UID, a.GID, a.Size)
	s.say(" atime=%d.%d mtime=%d.%d ctime=%d.%d", a.Atime.Sec, a.Atime.Nsec, a.Mtime.Sec, a.Mtime.Nsec, a.Ctime.Sec, a.Ctime.Nsec)
	s.say(" rest=%d", bit(a.Ino != 0 || a.Nlink != 0 || a.Rdev != 0 || a.Blksize != 0 || a.Blocks != 0))
	s.sayFile("fi", fi)
	s.replyAttr(r)
}

func (s *script) readlink(r lowlevel.LinkReq, ino lowlevel.NodeID) {
	s.say("readlink ino=%x", ino)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	v := s.next()
	n := int(v % 100)
	if s.kind == 4 {
		n = 4095
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = 1 + byte((v>>(i%40))%255)
	}
	r.ReplyReadlink(string(b))
}

func (s *script) mknod(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name, mode, rdev uint32) {
	s.say("mknod parent=%x mode=%o rdev=%x", parent, mode, rdev)
	s.sayName("name", name)
	s.replyEntry(r)
}

func (s *script) mkdir(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name, mode uint32) {
	s.say("mkdir parent=%x mode=%o", parent, mode)
	s.sayName("name", name)
	s.replyEntry(r)
}

func (s *script) remove(op string, r lowlevel.ErrReq, parent lowlevel.NodeID, name lowlevel.Name) {
	s.say("%s parent=%x", op, parent)
	s.sayName("name", name)
	s.replyOK(r)
}

func (s *script) symlink(r lowlevel.EntryReq, target lowlevel.Name, parent lowlevel.NodeID, name lowlevel.Name) {
	s.say("symlink parent=%x", parent)
	s.sayName("name", name)
	s.sayName("target", target)
	s.replyEntry(r)
}

func (s *script) rename(r lowlevel.ErrReq, parent lowlevel.NodeID, name lowlevel.Name, newparent lowlevel.NodeID, newname lowlevel.Name, flags uint32) {
	s.say("rename parent=%x newparent=%x flags=%x", parent, newparent, flags)
	s.sayName("name", name)
	s.sayName("newname", newname)
	s.replyOK(r)
}

func (s *script) link(r lowlevel.EntryReq, ino, newparent lowlevel.NodeID, newname lowlevel.Name) {
	s.say("link ino=%x newparent=%x", ino, newparent)
	s.sayName("newname", newname)
	s.replyEntry(r)
}

func (s *script) openFile(op string, r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
	s.say("%s ino=%x", op, ino)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if !s.early(r.Req) {
		r.ReplyOpen(s.open(fi))
	}
}

func (s *script) create(r lowlevel.CreateReq, parent lowlevel.NodeID, name lowlevel.Name, mode uint32, fi *lowlevel.FileInfo) {
	s.say("create parent=%x mode=%o", parent, mode)
	s.sayName("name", name)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	e := s.entry()
	r.ReplyCreate(&e, s.open(fi))
}

func (s *script) read(r lowlevel.DataReq, ino lowlevel.NodeID, size int, off int64, fi *lowlevel.FileInfo) {
	s.say("read ino=%x size=%d off=%d", ino, size, off)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	n := s.size(size)
	data := pattern(n, s.next())
	switch v := s.next(); v % 3 {
	case 0:
		r.ReplyBuf(data)
	case 1:
		a, b := n/3, 2*n/3
		r.ReplyIOV(data[:a], data[a:b], data[b:])
	default:
		s.vector(r, data, v/3)
	}
}

// vector answers data through ReplyData in one of six shapes.
func (s *script) vector(r lowlevel.DataReq, data []byte, v uint64) {
	n := len(data)
	a, b := n/3, 2*n/3
	vec := &lowlevel.BufVec{Bufs: []lowlevel.Buf{{Mem: data[:a]}, {Mem: data[a:b]}, {Mem: data[b:]}}}
	fd := int(s.file.Fd())
	switch v % 6 {
	case 0:
		vec = lowlevel.MemVec(data)
	case 2: // the whole from the file, perhaps over its end
		vec = lowlevel.FileVec(fd, n, int64(v/6%(fileSize+100)))
		vec.Bufs[0].Retry = true
	case 3: // memory, file, memory
		vec.Bufs[1] = lowlevel.Buf{IsFD: true, FD: fd, Size: b - a, Pos: int64(v / 6 % fileSize), Seek: true, Retry: true}
	case 4: // a descriptor that cannot be read
		vec.Bufs = []lowlevel.Buf{{IsFD: true, FD: -1, Size: n}}
	case 5: // starts in the second piece
		vec.Idx, vec.Off = 1, (b-a)/2
	}
	var flags lowlevel.CopyFlags
	if v>>32&1 != 0 {
		flags = lowlevel.CopyNoSplice
	}
	r.ReplyData(vec, flags)
}

func (s *script) write(r lowlevel.WriteReq, ino lowlevel.NodeID, data []byte, off int64, fi *lowlevel.FileInfo) {
	s.say("write ino=%x off=%d", ino, off)
	s.sayData("data", data)
	s.sayFile("fi", fi)
	s.replyWrite(r, uint64(len(data)), "")
}

func (s *script) writeBuf(r lowlevel.WriteReq, ino lowlevel.NodeID, buf *lowlevel.BufVec, off int64, fi *lowlevel.FileInfo) {
	s.say("write_buf ino=%x off=%d count=%d idx=%d skip=%d", ino, off, len(buf.Bufs), buf.Idx, buf.Off)
	s.sayData("data", buf.Bufs[0].Mem)
	s.sayFile("fi", fi)
	s.replyWrite(r, uint64(buf.Size()), "")
}

func (s *script) done(op string, r lowlevel.ErrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
	s.say("%s ino=%x", op, ino)
	s.sayFile("fi", fi)
	s.replyOK(r)
}

func (s *script) sync(op string, r lowlevel.ErrReq, ino lowlevel.NodeID, datasync bool, fi *lowlevel.FileInfo) {
	s.say("%s ino=%x datasync=%d", op, ino, bit(datasync))
	s.sayFile("fi", fi)
	s.replyOK(r)
}

func (s *script) readdir(r lowlevel.DirReq, ino lowlevel.NodeID, size int, off uint64, fi *lowlevel.FileInfo) {
	s.say("readdir ino=%x size=%d off=%d", ino, size, off)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	if s.kind == 4 {
		n := s.next() % uint64(min(size, 200)+1)
		r.ReplyBuf(pattern(int(n), s.next()))
		return
	}
	for range s.next() % 24 {
		off := s.next()
		name := s.name()
		st := s.stat()
		if !r.Add(name, &st, off) {
			break
		}
	}
	r.Reply()
}

func (s *script) readdirplus(r lowlevel.PlusReq, ino lowlevel.NodeID, size int, off uint64, fi *lowlevel.FileInfo) {
	s.say("readdirplus ino=%x size=%d off=%d", ino, size, off)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	if s.kind == 4 {
		n := s.next() % uint64(min(size, 200)+1)
		r.ReplyBuf(pattern(int(n), s.next()))
		return
	}
	for range s.next() % 24 {
		off := s.next()
		name := s.name()
		e := s.entry()
		if !r.Add(name, &e, off) {
			break
		}
	}
	r.Reply()
}

func (s *script) statfs(r lowlevel.StatfsReq, ino lowlevel.NodeID) {
	s.say("statfs ino=%x", ino)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	st := lowlevel.Statfs{Blocks: s.next(), Bfree: s.next(), Bavail: s.next(), Files: s.next(), Ffree: s.next()}
	v := s.next()
	st.Bsize, st.Frsize = uint32(v), uint32(v>>32)
	st.NameMax = uint32(s.next())
	r.ReplyStatfs(&st)
}

func (s *script) setxattr(r lowlevel.ErrReq, ino lowlevel.NodeID, name lowlevel.Name, value []byte, flags uint32) {
	s.say("setxattr ino=%x flags=%d", ino, int32(flags))
	s.sayName("name", name)
	s.sayData("value", value)
	s.replyOK(r)
}

func (s *script) getxattr(r lowlevel.XattrReq, ino lowlevel.NodeID, name lowlevel.Name, size int) {
	s.say("getxattr ino=%x size=%d", ino, size)
	s.sayName("name", name)
	s.xattr(r, size)
}

func (s *script) listxattr(r lowlevel.XattrReq, ino lowlevel.NodeID, size int) {
	s.say("listxattr ino=%x size=%d", ino, size)
	s.xattr(r, size)
}

func (s *script) xattr(r lowlevel.XattrReq, asked int) {
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	v := s.next()
	if asked == 0 || s.kind == 4 {
		r.ReplyXattr(int(v % 70000))
		return
	}
	n := int(v % 200)
	if n > asked && s.cfg.Flags&fOversize == 0 {
		r.ReplyErr(syscall.ERANGE)
		return
	}
	r.ReplyBuf(pattern(n, s.next()))
}

func (s *script) removexattr(r lowlevel.ErrReq, ino lowlevel.NodeID, name lowlevel.Name) {
	s.say("removexattr ino=%x", ino)
	s.sayName("name", name)
	s.replyOK(r)
}

func (s *script) access(r lowlevel.ErrReq, ino lowlevel.NodeID, mask uint32) {
	s.say("access ino=%x mask=%x", ino, mask)
	s.begin(r.Req, "")
	if mask&retrieveMask != 0 {
		size, off := int(s.next()%100000), int64(s.next()>>1)
		s.retrieves++
		s.line(fmt.Sprintf("retrieve %d", -int(lowlevel.ErrnoOf(r.Session().Retrieve(ino, off, size, s.retrieves)))))
	}
	if mask&releaseMask != 0 {
		s.releaseHeld(mask&1 != 0)
		s.kind = 14
	}
	if !s.early(r.Req) {
		r.ReplyOK()
	}
}

// sayLock writes the lock as struct flock has it.
func (s *script) sayLock(l *lowlevel.Flock) {
	s.say(" type=%d whence=0 start=%x len=%x pid=%d", l.Type, l.Start, uint64(l.Len()), int32(l.PID))
}

func (s *script) getlk(r lowlevel.LockReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo, lk *lowlevel.Flock) {
	s.say("getlk ino=%x", ino)
	s.sayLock(lk)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	v := s.next()
	l := lowlevel.Flock{Type: int16(v % 3), PID: uint32(v >> 32), Start: s.next() >> 2, End: lowlevel.LockEOF}
	if v = s.next(); v%4 != 0 {
		l.End = l.Start + v>>34
	}
	r.ReplyLock(&l)
}

func (s *script) setlk(r lowlevel.ErrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo, lk *lowlevel.Flock, sleep bool) {
	s.say("setlk ino=%x sleep=%d", ino, bit(sleep))
	s.sayLock(lk)
	s.sayFile("fi", fi)
	s.replyOK(r)
}

func (s *script) flock(r lowlevel.ErrReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo, op int) {
	s.say("flock ino=%x op=%x", ino, op)
	s.sayFile("fi", fi)
	s.replyOK(r)
}

func (s *script) bmap(r lowlevel.BmapReq, ino lowlevel.NodeID, blocksize int, idx uint64) {
	s.say("bmap ino=%x blocksize=%d idx=%x", ino, blocksize, idx)
	s.begin(r.Req, "")
	if !s.early(r.Req) {
		r.ReplyBmap(s.next())
	}
}

func (s *script) ioctl(r lowlevel.IoctlReq, ino lowlevel.NodeID, cmd uint32, arg uint64, fi *lowlevel.FileInfo, flags uint32, in []byte, outSize int) {
	s.say("ioctl ino=%x cmd=%x arg=%x flags=%x out=%d nil=%d", ino, cmd, arg, flags, outSize, bit(in == nil))
	s.sayData("in", in)
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if s.early(r.Req) {
		return
	}
	v := s.next()
	if s.kind == 3 {
		var iov [10]lowlevel.IOVec
		for i := range iov {
			iov[i].Base = s.next()
			iov[i].Len = s.next()
		}
		r.ReplyIoctlRetry(iov[:v%6], iov[5:5+v/6%6])
		return
	}
	result := int32(v >> 32)
	n := int(v % uint64(min(outSize, 300)+1))
	data := pattern(n, s.next())
	if s.kind < 8 {
		r.ReplyIoctl(result, data[:n/2], data[n/2:])
		return
	}
	r.ReplyIoctl(result, data)
}

func (s *script) poll(r lowlevel.PollReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo, ph *lowlevel.PollHandle) {
	s.say("poll ino=%x handle=%d", ino, bit(ph != nil))
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if ph != nil && s.kind%2 != 0 {
		s.line(fmt.Sprintf("wake %d", -int(lowlevel.ErrnoOf(ph.Notify()))))
	}
	if !s.early(r.Req) {
		r.ReplyPoll(uint32(s.next()))
	}
}

func (s *script) retrieveReply(r lowlevel.NoneReq, cookie any, ino lowlevel.NodeID, off int64, buf *lowlevel.BufVec) {
	s.say("retrieve_reply cookie=%d ino=%x off=%d", cookie, ino, off)
	s.sayData("data", buf.Bufs[0].Mem)
	s.begin(r.Req, "")
	r.ReplyNone()
}

func (s *script) fallocate(r lowlevel.ErrReq, ino lowlevel.NodeID, mode uint32, off, length int64, fi *lowlevel.FileInfo) {
	s.say("fallocate ino=%x mode=%x off=%d len=%d", ino, mode, off, length)
	s.sayFile("fi", fi)
	s.replyOK(r)
}

func (s *script) copyFileRange(r lowlevel.WriteReq, ino lowlevel.NodeID, off int64, fi *lowlevel.FileInfo, out lowlevel.NodeID, outOff int64,
	outFi *lowlevel.FileInfo, n uint64, flags uint32) {
	extra := fmt.Sprintf(" | len=%d", n)
	n = min(n, 0xfffff000)
	s.say("copy_file_range ino=%x off=%d out=%x outoff=%d flags=%x len=%d", ino, off, out, outOff, flags, n)
	s.sayFile("fi", fi)
	s.sayFile("outfi", outFi)
	s.replyWrite(r, n, extra)
}

func (s *script) lseek(r lowlevel.SeekReq, ino lowlevel.NodeID, off int64, whence int, fi *lowlevel.FileInfo) {
	s.say("lseek ino=%x off=%d whence=%d", ino, off, int32(whence))
	s.sayFile("fi", fi)
	s.begin(r.Req, "")
	if !s.early(r.Req) {
		r.ReplyLseek(int64(s.next()))
	}
}
