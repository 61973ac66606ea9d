//go:build linux

package highlevel

import (
	"strconv"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

func (l *Filesystem) trace(format string, args ...any) { l.fs.trace(format, args...) }

// handle is a file handle as libfuse prints it.
func handle(fi *FileInfo) string {
	if fi == nil {
		return "NULL"
	}
	return strconv.FormatUint(fi.FH, 10)
}

// Open calls Operations.Open, or succeeds.
func (l *Filesystem) Open(c *Context, path string, fi *FileInfo) error {
	if l.ops.Open == nil {
		return nil
	}
	if l.debug {
		l.trace("open flags: 0x%x %s", fi.Flags, path)
	}
	defer c.leave(l.enter(c))
	err := l.ops.Open(c, path, fi)
	if l.debug && err == nil {
		l.trace("   open[%s] flags: 0x%x %s", handle(fi), fi.Flags, path)
	}
	return err
}

// Create calls Operations.Create, or fails with ENOSYS.
func (l *Filesystem) Create(c *Context, path string, mode uint32, fi *FileInfo) error {
	if l.debug {
		l.trace("create flags: 0x%x %s 0%o umask=0%03o", fi.Flags, path, mode, c.Umask)
	}
	if l.ops.Create == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	err := l.ops.Create(c, path, mode, fi)
	if l.debug && err == nil {
		l.trace("   create[%s] flags: 0x%x %s", handle(fi), fi.Flags, path)
	}
	return err
}

// Read calls Operations.Read, or ReadBuf and copies; without both it fails with ENOSYS.
func (l *Filesystem) Read(c *Context, path string, p []byte, off int64, fi *FileInfo) (int, error) {
	if l.ops.Read == nil && l.ops.ReadBuf == nil {
		return 0, nosys
	}
	if l.debug {
		l.trace("read[%s] %d bytes from %d flags: 0x%x", handle(fi), len(p), off, fi.Flags)
	}
	defer c.leave(l.enter(c))
	var n int
	var err error
	if l.ops.ReadBuf != nil {
		var buf *BufVec
		if buf, err = l.ops.ReadBuf(c, path, len(p), off, fi); err == nil && buf != nil {
			n, err = lowlevel.Copy(lowlevel.MemVec(p), buf, 0)
		}
	} else {
		n, err = l.ops.Read(c, path, p, off, fi)
	}
	if err != nil {
		return 0, err
	}
	l.didRead(n, len(p), off, fi)
	return min(max(n, 0), len(p)), nil
}

// didRead logs what a read gave.
func (l *Filesystem) didRead(n, size int, off int64, fi *FileInfo) {
	if l.debug {
		l.trace("   read[%s] %d bytes from %d", handle(fi), n, off)
	}
	if n > size && l.fs != nil {
		l.fs.log.Error("fuse: read too many bytes")
	}
}

// ReadBuf calls Operations.ReadBuf, or Read; without both it fails with ENOSYS.
func (l *Filesystem) ReadBuf(c *Context, path string, size int, off int64, fi *FileInfo) (*BufVec, error) {
	if l.ops.ReadBuf == nil {
		if l.ops.Read == nil {
			return nil, nosys
		}
		p := make([]byte, size)
		n, err := l.Read(c, path, p, off, fi)
		return lowlevel.MemVec(p[:n]), err
	}
	if l.debug {
		l.trace("read[%s] %d bytes from %d flags: 0x%x", handle(fi), size, off, fi.Flags)
	}
	defer c.leave(l.enter(c))
	buf, err := l.ops.ReadBuf(c, path, size, off, fi)
	if err == nil && buf != nil {
		l.didRead(buf.Size(), size, off, fi)
	}
	return buf, err
}

// Write calls Operations.WriteBuf, or Write; without both it fails with ENOSYS.
func (l *Filesystem) Write(c *Context, path string, p []byte, off int64, fi *FileInfo) (int, error) {
	return l.WriteBuf(c, path, lowlevel.MemVec(p), off, fi)
}

// WriteBuf calls Operations.WriteBuf, or Write with the data in one piece; without both it fails with ENOSYS.
func (l *Filesystem) WriteBuf(c *Context, path string, buf *BufVec, off int64, fi *FileInfo) (int, error) {
	if l.ops.Write == nil && l.ops.WriteBuf == nil {
		return 0, nosys
	}
	size := buf.Size()
	if l.debug {
		page := ""
		if fi.WritePage {
			page = "page"
		}
		l.trace("write%s[%s] %d bytes to %d flags: 0x%x", page, handle(fi), size, off, fi.Flags)
	}
	defer c.leave(l.enter(c))
	var n int
	var err error
	if l.ops.WriteBuf != nil {
		n, err = l.ops.WriteBuf(c, path, buf, off, fi)
	} else {
		n, err = l.writeFlat(c, path, buf, size, off, fi)
	}
	if err != nil {
		return 0, err
	}
	if l.debug {
		l.trace("   write[%s] %d bytes to %d", handle(fi), n, off)
	}
	if n > size && l.fs != nil {
		l.fs.log.Error("fuse: wrote too many bytes")
	}
	return n, nil
}

// writeFlat writes data that are not one piece of memory through a copy.
func (l *Filesystem) writeFlat(c *Context, path string, buf *BufVec, size int, off int64, fi *FileInfo) (int, error) {
	if len(buf.Bufs) == 1 && buf.Idx == 0 && buf.Off == 0 && !buf.Bufs[0].IsFD {
		return l.ops.Write(c, path, buf.Bufs[0].Mem, off, fi)
	}
	p := make([]byte, size)
	n, err := lowlevel.Copy(lowlevel.MemVec(p), buf, 0)
	if err != nil || n == 0 {
		return n, err
	}
	return l.ops.Write(c, path, p[:n], off, fi)
}

// Flush calls Operations.Flush, or fails with ENOSYS.
func (l *Filesystem) Flush(c *Context, path string, fi *FileInfo) error {
	if l.debug {
		l.trace("flush[%s]", handle(fi))
	}
	if l.ops.Flush == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Flush(c, path, fi)
}

// Release calls Operations.Release, or succeeds.
func (l *Filesystem) Release(c *Context, path string, fi *FileInfo) error {
	if l.debug {
		flush := ""
		if fi.Flush {
			flush = "+flush"
		}
		l.trace("release%s[%s] flags: 0x%x", flush, handle(fi), fi.Flags)
	}
	if l.ops.Release == nil {
		return nil
	}
	defer c.leave(l.enter(c))
	return l.ops.Release(c, path, fi)
}

// Fsync calls Operations.Fsync, or fails with ENOSYS.
func (l *Filesystem) Fsync(c *Context, path string, datasync bool, fi *FileInfo) error {
	if l.debug {
		l.trace("fsync[%s] datasync: %d", handle(fi), number(datasync))
	}
	if l.ops.Fsync == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Fsync(c, path, datasync, fi)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Opendir calls Operations.Opendir, or succeeds.
func (l *Filesystem) Opendir(c *Context, path string, fi *FileInfo) error {
	if l.ops.Opendir == nil {
		return nil
	}
	if l.debug {
		l.trace("opendir flags: 0x%x %s", fi.Flags, path)
	}
	defer c.leave(l.enter(c))
	err := l.ops.Opendir(c, path, fi)
	if l.debug && err == nil {
		l.trace("   opendir[%s] flags: 0x%x %s", handle(fi), fi.Flags, path)
	}
	return err
}

// Readdir calls Operations.Readdir, or fails with ENOSYS.
func (l *Filesystem) Readdir(c *Context, path string, fill Filler, off uint64, fi *FileInfo, plus bool) error {
	if l.ops.Readdir == nil {
		return nosys
	}
	if l.debug {
		what := ""
		if plus {
			what = "plus"
		}
		l.trace("readdir%s[%s] from %d", what, handle(fi), off)
	}
	defer c.leave(l.enter(c))
	return l.ops.Readdir(c, path, fill, off, fi, plus)
}

// Releasedir calls Operations.Releasedir, or succeeds.
func (l *Filesystem) Releasedir(c *Context, path string, fi *FileInfo) error {
	if l.debug {
		l.trace("releasedir[%s] flags: 0x%x", handle(fi), fi.Flags)
	}
	if l.ops.Releasedir == nil {
		return nil
	}
	defer c.leave(l.enter(c))
	return l.ops.Releasedir(c, path, fi)
}

// Fsyncdir calls Operations.Fsyncdir, or fails with ENOSYS.
func (l *Filesystem) Fsyncdir(c *Context, path string, datasync bool, fi *FileInfo) error {
	if l.debug {
		l.trace("fsyncdir[%s] datasync: %d", handle(fi), number(datasync))
	}
	if l.ops.Fsyncdir == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Fsyncdir(c, path, datasync, fi)
}

// Lock calls Operations.Lock, or fails with ENOSYS.
func (l *Filesystem) Lock(c *Context, path string, fi *FileInfo, cmd int, lk *Flock) error {
	if l.debug {
		cmds := map[int]string{syscall.F_GETLK: "F_GETLK", syscall.F_SETLK: "F_SETLK", syscall.F_SETLKW: "F_SETLKW"}
		types := map[int16]string{syscall.F_RDLCK: "F_RDLCK", syscall.F_WRLCK: "F_WRLCK", syscall.F_UNLCK: "F_UNLCK"}
		l.trace("lock[%s] %s %s start: %d len: %d pid: %d", handle(fi), orUnknown(cmds[cmd]), orUnknown(types[lk.Type]), lk.Start, lk.Len(), lk.PID)
	}
	if l.ops.Lock == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Lock(c, path, fi, cmd, lk)
}

func orUnknown(s string) string {
	if s == "" {
		return "???"
	}
	return s
}

// Flock calls Operations.Flock, or fails with ENOSYS.
func (l *Filesystem) Flock(c *Context, path string, fi *FileInfo, op int) error {
	if l.debug {
		names := map[int]string{syscall.LOCK_SH: "LOCK_SH", syscall.LOCK_EX: "LOCK_EX", syscall.LOCK_UN: "LOCK_UN"}
		what := orUnknown(names[op&^syscall.LOCK_NB])
		if op&syscall.LOCK_NB != 0 {
			what += "|LOCK_NB"
		}
		l.trace("lock[%s] %s", handle(fi), what)
	}
	if l.ops.Flock == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Flock(c, path, fi, op)
}

// Ioctl calls Operations.Ioctl, or fails with ENOSYS.
func (l *Filesystem) Ioctl(c *Context, path string, cmd uint32, arg uint64, fi *FileInfo, flags uint32, data []byte) (int32, error) {
	if l.debug {
		l.trace("ioctl[%s] 0x%x flags: 0x%x", handle(fi), cmd, flags)
	}
	if l.ops.Ioctl == nil {
		return 0, nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Ioctl(c, path, cmd, arg, fi, flags, data)
}

// Poll calls Operations.Poll, or fails with ENOSYS.
func (l *Filesystem) Poll(c *Context, path string, fi *FileInfo, ph *PollHandle) (uint32, error) {
	if l.ops.Poll == nil {
		return 0, nosys
	}
	if l.debug {
		l.trace("poll[%s] ph: %p, events 0x%x", handle(fi), ph, fi.PollEvents)
	}
	defer c.leave(l.enter(c))
	revents, err := l.ops.Poll(c, path, fi, ph)
	if l.debug && err == nil {
		l.trace("   poll[%s] revents: 0x%x", handle(fi), revents)
	}
	return revents, err
}

// Fallocate calls Operations.Fallocate, or fails with ENOSYS.
func (l *Filesystem) Fallocate(c *Context, path string, mode uint32, off, length int64, fi *FileInfo) error {
	if l.debug {
		l.trace("fallocate %s mode %x, offset: %d, length: %d", path, mode, off, length)
	}
	if l.ops.Fallocate == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Fallocate(c, path, mode, off, length, fi)
}

// CopyFileRange calls Operations.CopyFileRange, or fails with ENOSYS.
func (l *Filesystem) CopyFileRange(c *Context, from string, fi *FileInfo, off int64, to string, fo *FileInfo, offo int64, n int, flags int) (int, error) {
	if l.debug {
		l.trace("copy_file_range from %s:%d to %s:%d, length: %d", from, off, to, offo, n)
	}
	if l.ops.CopyFileRange == nil {
		return 0, nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.CopyFileRange(c, from, fi, off, to, fo, offo, n, flags)
}

// Lseek calls Operations.Lseek, or fails with ENOSYS.
func (l *Filesystem) Lseek(c *Context, path string, off int64, whence int, fi *FileInfo) (int64, error) {
	if l.debug {
		l.trace("lseek[%s] %d %d", handle(fi), off, whence)
	}
	if l.ops.Lseek == nil {
		return 0, nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Lseek(c, path, off, whence, fi)
}
