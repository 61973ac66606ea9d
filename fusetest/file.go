//go:build linux

package fusetest

import (
	"errors"
	"math"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// File is an open file or directory.
type File struct {
	c         *Client
	NodeID    lowlevel.NodeID
	FH        uint64
	Flags     uint32          // of open(2), as the server got them
	OpenFlags wire.FopenFlags // the server's
	BackingID int32
	LockOwner uint64 // for locks and closing
	NoOpen    bool   // the server has no open: nothing is sent when the file is closed
	dir       bool
	flocked   bool
}

// File is a handle that was not opened.
func (c *Client) File(ino lowlevel.NodeID, fh uint64) *File {
	return &File{c: c, NodeID: ino, FH: fh, LockOwner: 1}
}

// Dir is a handle of a directory that was not opened.
func (c *Client) Dir(ino lowlevel.NodeID, fh uint64) *File {
	return &File{c: c, NodeID: ino, FH: fh, dir: true}
}

func (f *File) opened(o wire.OpenOut) *File {
	f.FH, f.OpenFlags, f.BackingID = o.FH, wire.FopenFlags(o.OpenFlags), o.BackingID
	if f.dir {
		f.OpenFlags &^= wire.FopenDirectIO
	}
	if f.OpenFlags&wire.FopenDirectIO == 0 {
		f.OpenFlags &^= wire.FopenParallelDirectWrites
	}
	return f
}

// Open is open(2) of an existing file. The kernel keeps some of the flags to itself.
func (c *Client) Open(ino lowlevel.NodeID, flags int) (*File, error) {
	drop := syscall.O_CREAT | syscall.O_EXCL | syscall.O_NOCTTY
	if c.k.Flags()&wire.InitAtomicOTrunc == 0 {
		drop |= syscall.O_TRUNC
	}
	f := c.File(ino, 0)
	f.Flags = uint32(flags &^ drop)
	if err := f.open(wire.OpOpen, wire.FopenKeepCache); err != nil {
		return nil, err
	}
	if flags&syscall.O_TRUNC != 0 && drop&syscall.O_TRUNC != 0 {
		if _, err := c.Truncate(ino, 0); err != nil {
			f.Release()
			return nil, err
		}
	}
	return f, nil
}

// Opendir is open(2) of a directory.
func (c *Client) Opendir(ino lowlevel.NodeID) (*File, error) {
	f := c.Dir(ino, 0)
	f.Flags = syscall.O_RDONLY | syscall.O_DIRECTORY
	if err := f.open(wire.OpOpendir, wire.FopenKeepCache|wire.FopenCacheDir); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open(op wire.Opcode, without wire.FopenFlags) error {
	body, err := f.c.sticky(op, f.NodeID, sys.Bytes(&wire.OpenIn{Flags: f.Flags}), nil, syscall.ENOSYS)
	if err == syscall.ENOSYS {
		f.NoOpen, f.OpenFlags = true, without
		return nil
	}
	var o wire.OpenOut
	copy(sys.Bytes(&o), body)
	f.opened(o)
	return err
}

// Create is open(2) with O_CREAT of a name that is not there: CREATE, or MKNOD and OPEN if the server has none.
func (c *Client) Create(parent lowlevel.NodeID, name string, flags int, mode uint32) (Entry, *File, error) {
	if !c.k.without(wire.OpCreate) {
		e, f, err := c.createOpen(wire.OpCreate, parent, name, flags, mode)
		if err != syscall.ENOSYS {
			return e, f, err
		}
		c.k.remember(wire.OpCreate)
	}
	e, err := c.Mknod(parent, name, syscall.S_IFREG|mode, 0)
	if err != nil {
		return Entry{}, nil, err
	}
	f, err := c.Open(e.NodeID, flags&^(syscall.O_CREAT|syscall.O_EXCL))
	return e, f, err
}

// Tmpfile is open(2) with O_TMPFILE.
func (c *Client) Tmpfile(parent lowlevel.NodeID, flags int, mode uint32) (Entry, *File, error) {
	if c.k.without(wire.OpTmpfile) {
		return Entry{}, nil, syscall.EOPNOTSUPP
	}
	e, f, err := c.createOpen(wire.OpTmpfile, parent, "#1", flags, mode)
	if err == syscall.ENOSYS {
		c.k.remember(wire.OpTmpfile)
		err = syscall.EOPNOTSUPP
	}
	return e, f, err
}

func (c *Client) createOpen(op wire.Opcode, parent lowlevel.NodeID, name string, flags int, mode uint32) (Entry, *File, error) {
	in := wire.CreateIn{Flags: uint32(flags &^ syscall.O_NOCTTY), Mode: c.mode(syscall.S_IFREG | mode), Umask: c.Umask}
	arg := sys.Bytes(&in)
	if op == wire.OpCreate && c.k.layout() < 12 {
		arg = arg[:8]
	}
	body, err := c.create(op, parent, arg, names(name))
	if err != nil {
		return Entry{}, nil, err
	}
	size := sys.SizeOf[wire.EntryOut]()
	if c.k.layout() < 9 {
		size = wire.CompatEntryOutSize
	}
	var o wire.OpenOut
	copy(sys.Bytes(&o), body[size:])
	e := entryOf(body[:size])
	f := c.File(e.NodeID, 0)
	f.Flags = in.Flags
	return e, f.opened(o), nil
}

// old cuts the argument of a read, write or lock to what kernels before minor 9 send.
func (f *File) old(arg []byte, size int) []byte {
	if f.c.k.layout() < 9 {
		return arg[:size]
	}
	return arg
}

// Read is one READ: fewer bytes than size are the end of the file, unless it is direct.
func (f *File) Read(off int64, size int) ([]byte, error) {
	in := wire.ReadIn{FH: f.FH, Offset: uint64(off), Size: uint32(size), Flags: f.Flags}
	if f.OpenFlags&wire.FopenDirectIO != 0 {
		in.ReadFlags, in.LockOwner = uint32(wire.ReadLockOwner), f.LockOwner
	}
	return f.c.call(wire.OpRead, f.NodeID, f.old(sys.Bytes(&in), 24), nil)
}

// Write is one WRITE.
func (f *File) Write(off int64, data []byte) (int, error) {
	in := wire.WriteIn{FH: f.FH, Offset: uint64(off), Size: uint32(len(data)), Flags: f.Flags}
	if f.OpenFlags&wire.FopenDirectIO != 0 {
		in.WriteFlags, in.LockOwner = uint32(wire.WriteLockOwner), f.LockOwner
	}
	return f.write(in, data)
}

// WriteCache is a WRITE of the page cache's.
func (f *File) WriteCache(off int64, data []byte) (int, error) {
	return f.write(wire.WriteIn{FH: f.FH, Offset: uint64(off), Size: uint32(len(data)), Flags: f.Flags, WriteFlags: uint32(wire.WriteCache)}, data)
}

func (f *File) write(in wire.WriteIn, data []byte) (int, error) {
	var o wire.WriteOut
	body, err := f.c.call(wire.OpWrite, f.NodeID, f.old(sys.Bytes(&in), wire.CompatWriteInSize), data)
	copy(sys.Bytes(&o), body)
	return int(o.Size), err
}

// Flush is close(2) of one descriptor.
func (f *File) Flush() error {
	if f.OpenFlags&wire.FopenNoflush != 0 {
		return nil
	}
	return f.c.nothing(f.c.sticky(wire.OpFlush, f.NodeID, sys.Bytes(&wire.FlushIn{FH: f.FH, LockOwner: f.LockOwner}), nil, nil))
}

// Release is the end of the last descriptor; nobody gets its error, which is returned for the test's sake.
func (f *File) Release() error {
	if f.NoOpen {
		return nil
	}
	in, op := wire.ReleaseIn{FH: f.FH, Flags: f.Flags}, wire.OpRelease
	if f.dir {
		op = wire.OpReleasedir
	}
	if f.flocked {
		in.ReleaseFlags, in.LockOwner = uint32(wire.ReleaseFlockUnlock), f.LockOwner
	}
	return f.c.nothing(f.c.call(op, f.NodeID, sys.Bytes(&in), nil))
}

// Close is Flush and Release.
func (f *File) Close() error {
	if f.dir {
		return f.Release()
	}
	return errors.Join(f.Flush(), f.Release())
}

// Fsync is fsync(2) and fdatasync(2).
func (f *File) Fsync(datasync bool) error {
	in, op := wire.FsyncIn{FH: f.FH}, wire.OpFsync
	if f.dir {
		op = wire.OpFsyncdir
	}
	if datasync {
		in.FsyncFlags = uint32(wire.FsyncDatasync)
	}
	return f.c.nothing(f.c.sticky(op, f.NodeID, sys.Bytes(&in), nil, nil))
}

// Getattr is fstat(2).
func (f *File) Getattr() (Attr, error) {
	return f.c.getattr(f.NodeID, wire.GetattrIn{GetattrFlags: uint32(wire.GetattrFH), FH: f.FH})
}

// Truncate is ftruncate(2).
func (f *File) Truncate(size uint64) (Attr, error) {
	in := wire.SetattrIn{Valid: uint32(wire.FattrSize | wire.FattrFH | wire.FattrLockOwner), Size: size, FH: f.FH, LockOwner: f.LockOwner}
	return f.c.Setattr(f.NodeID, in)
}

func (f *File) lock(op wire.Opcode, lk wire.FileLock, flags wire.LKFlags) ([]byte, error) {
	in := wire.LKIn{FH: f.FH, Owner: f.LockOwner, LK: lk, LKFlags: uint32(flags)}
	return f.c.call(op, f.NodeID, f.old(sys.Bytes(&in), 40), nil)
}

// Getlk is F_GETLK.
func (f *File) Getlk(lk wire.FileLock) (wire.FileLock, error) {
	var o wire.LKOut
	body, err := f.lock(wire.OpGetlk, lk, 0)
	copy(sys.Bytes(&o), body)
	return o.LK, err
}

// Setlk is F_SETLK, with wait F_SETLKW.
func (f *File) Setlk(lk wire.FileLock, wait bool) error {
	return f.c.nothing(f.lock(setlk(wait), lk, 0))
}

func setlk(wait bool) wire.Opcode {
	if wait {
		return wire.OpSetlkw
	}
	return wire.OpSetlk
}

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB.
func (f *File) Flock(op int) error {
	lk := wire.FileLock{End: math.MaxInt64}
	switch op &^ syscall.LOCK_NB {
	case syscall.LOCK_SH:
		lk.Type = syscall.F_RDLCK
	case syscall.LOCK_EX:
		lk.Type = syscall.F_WRLCK
	case syscall.LOCK_UN:
		lk.Type = syscall.F_UNLCK
	default:
		return syscall.EINVAL
	}
	f.flocked = true
	return f.c.nothing(f.lock(setlk(op&syscall.LOCK_NB == 0), lk, wire.LKFlock))
}

// Ioctl is ioctl(2) with in copied in and up to outSize bytes copied out. A negative result of the server's is returned as errno.
func (f *File) Ioctl(cmd uint32, arg uint64, in []byte, outSize int) (int32, []byte, error) {
	o, data, err := f.ioctl(0, cmd, arg, in, outSize)
	switch {
	case err == syscall.ENOSYS:
		return 0, nil, syscall.ENOTTY
	case err != nil:
		return 0, nil, err
	case wire.IoctlFlags(o.Flags)&wire.IoctlRetry != 0, len(data) > outSize:
		return 0, nil, syscall.EIO
	case o.Result < 0:
		return o.Result, nil, syscall.Errno(-o.Result)
	}
	return o.Result, data, nil
}

func (f *File) ioctl(flags wire.IoctlFlags, cmd uint32, arg uint64, in []byte, outSize int) (wire.IoctlOut, []byte, error) {
	if f.dir {
		flags |= wire.IoctlDir
	}
	a := wire.IoctlIn{FH: f.FH, Flags: uint32(flags), Cmd: cmd, Arg: arg, InSize: uint32(len(in)), OutSize: uint32(outSize)}
	var o wire.IoctlOut
	body, err := f.c.call(wire.OpIoctl, f.NodeID, sys.Bytes(&a), in)
	if err != nil {
		return o, nil, err
	}
	return o, body[copy(sys.Bytes(&o), body):], nil
}

// Memory is the address space of a process that calls an unrestricted ioctl.
type Memory interface {
	Load(base uint64, n int) ([]byte, error)
	Store(base uint64, data []byte) error
}

// maxIoctlIovs is FUSE_IOCTL_MAX_IOV.
const maxIoctlIovs = 256

// UnrestrictedIoctl is ioctl(2) as CUSE has it: the server asks for the caller's memory, any number of times.
func (f *File) UnrestrictedIoctl(cmd uint32, arg uint64, mem Memory) (int32, error) {
	var in []byte
	var out []wire.IoctlIovec
	for {
		size := 0
		for _, v := range out {
			size += int(v.Len)
		}
		o, data, err := f.ioctl(wire.IoctlUnrestricted, cmd, arg, in, size)
		if err == syscall.ENOSYS {
			return 0, syscall.ENOTTY
		}
		if err != nil {
			return 0, err
		}
		if wire.IoctlFlags(o.Flags)&wire.IoctlRetry == 0 {
			if len(data) > size {
				return 0, syscall.EIO
			}
			for _, v := range out {
				n := min(int(v.Len), len(data))
				if err := mem.Store(v.Base, data[:n]); err != nil {
					return 0, err
				}
				data = data[n:]
			}
			if o.Result < 0 {
				return o.Result, syscall.Errno(-o.Result)
			}
			return o.Result, nil
		}
		vecs, err := f.ioctlVecs(o, data)
		if err != nil {
			return 0, err
		}
		in = in[:0]
		for _, v := range vecs[:o.InIovs] {
			b, err := mem.Load(v.Base, int(v.Len))
			if err != nil {
				return 0, err
			}
			in = append(in, b...)
		}
		out = vecs[o.InIovs:]
	}
}

// ioctlVecs decodes the areas of a retry, by the kernel's rules.
func (f *File) ioctlVecs(o wire.IoctlOut, data []byte) (list []wire.IoctlIovec, err error) {
	n := int(o.InIovs) + int(o.OutIovs)
	if o.InIovs > maxIoctlIovs || o.OutIovs > maxIoctlIovs || n > maxIoctlIovs {
		return nil, syscall.ENOMEM
	}
	size := sys.SizeOf[wire.IoctlIovec]()
	if f.c.k.layout() < 16 {
		size = sys.SizeOf[[2]uintptr]()
	}
	if len(data) != n*size {
		return nil, syscall.EIO
	}
	for ; len(data) > 0; data = data[size:] {
		var v wire.IoctlIovec
		if size == sys.SizeOf[wire.IoctlIovec]() {
			copy(sys.Bytes(&v), data)
		} else {
			var native [2]uintptr
			copy(sys.Bytes(&native), data)
			v.Base, v.Len = uint64(native[0]), uint64(native[1])
		}
		list = append(list, v)
	}
	return list, nil
}

// Poll is poll(2): the events that are ready. With kh != 0 somebody waits, and the server may send a POLL notification with kh.
func (f *File) Poll(events uint32, kh uint64) (uint32, error) {
	const defaultMask = 0x145 // POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
	in := wire.PollIn{FH: f.FH, KH: kh, Events: events}
	if kh != 0 {
		in.Flags = uint32(wire.PollScheduleNotify)
	}
	var o wire.PollOut
	body, err := f.c.sticky(wire.OpPoll, f.NodeID, sys.Bytes(&in), nil, nil)
	if err == nil && body == nil {
		return defaultMask, nil
	}
	copy(sys.Bytes(&o), body)
	return o.Revents, err
}

// Fallocate is fallocate(2).
func (f *File) Fallocate(mode uint32, off, length int64) error {
	const known = 0x1 | 0x2 | 0x10 // KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE
	if mode&^known != 0 {
		return syscall.EOPNOTSUPP
	}
	in := wire.FallocateIn{FH: f.FH, Offset: uint64(off), Length: uint64(length), Mode: mode}
	return f.c.nothing(f.c.sticky(wire.OpFallocate, f.NodeID, sys.Bytes(&in), nil, syscall.EOPNOTSUPP))
}

// Lseek is lseek(2) with SEEK_DATA or SEEK_HOLE. EOPNOTSUPP says that the kernel would go by the file's size.
func (f *File) Lseek(off int64, whence int) (int64, error) {
	var o wire.LseekOut
	in := wire.LseekIn{FH: f.FH, Offset: uint64(off), Whence: uint32(whence)}
	body, err := f.c.sticky(wire.OpLseek, f.NodeID, sys.Bytes(&in), nil, syscall.EOPNOTSUPP)
	copy(sys.Bytes(&o), body)
	return int64(o.Offset), err
}

// copyLimit is what COPY_FILE_RANGE copies at most.
const copyLimit = 0xfffff000

// CopyFileRange is copy_file_range(2): COPY_FILE_RANGE_64 since minor 45, and COPY_FILE_RANGE where the server lacks that.
func (f *File) CopyFileRange(off int64, to *File, toOff int64, n uint64, flags uint64) (uint64, error) {
	in := wire.CopyFileRangeIn{FHIn: f.FH, OffIn: uint64(off), NodeIDOut: uint64(to.NodeID), FHOut: to.FH, OffOut: uint64(toOff), Len: n, Flags: flags}
	if f.c.k.layout() >= 45 {
		body, err := f.c.sticky(wire.OpCopyFileRange64, f.NodeID, sys.Bytes(&in), nil, syscall.ENOSYS)
		if err != syscall.ENOSYS {
			var o wire.CopyFileRangeOut
			copy(sys.Bytes(&o), body)
			return o.BytesCopied, err
		}
	}
	in.Len = min(n, copyLimit)
	var o wire.WriteOut
	body, err := f.c.sticky(wire.OpCopyFileRange, f.NodeID, sys.Bytes(&in), nil, syscall.EOPNOTSUPP)
	copy(sys.Bytes(&o), body)
	return uint64(o.Size), err
}

// Dirent is one entry of a directory.
type Dirent struct {
	Name string
	Ino  uint64
	Off  uint64 // where the listing goes on after it
	Type uint32 // DT_*
	Plus *Entry // READDIRPLUS: what a lookup would have told, nil for nothing
}

// Readdir is one READDIR from off on; no entries are the end. An entry that is cut off at the end is left out, as the kernel does.
func (f *File) Readdir(off uint64, size int) ([]Dirent, error) {
	body, err := f.readdir(wire.OpReaddir, off, size)
	if err != nil {
		return nil, err
	}
	var list []Dirent
	for r, err := range wire.Dirents(body) {
		if err != nil {
			break
		}
		list = append(list, dirent(&r))
	}
	return list, nil
}

// Readdirplus is one READDIRPLUS. Each entry with a node id but "." and ".." counts as a lookup.
func (f *File) Readdirplus(off uint64, size int) ([]Dirent, error) {
	body, err := f.readdir(wire.OpReaddirplus, off, size)
	if err != nil {
		return nil, err
	}
	var list []Dirent
	for r, err := range wire.Direntpluses(body) {
		if err != nil {
			break
		}
		d := dirent(&r.DirentRecord)
		if r.Entry.NodeID != 0 {
			e := entryOf(sys.Bytes(&r.Entry))
			d.Plus = &e
		}
		list = append(list, d)
	}
	return list, nil
}

func dirent(r *wire.DirentRecord) Dirent {
	return Dirent{Name: string(r.Name), Ino: r.Ino, Off: r.Off, Type: r.Type}
}

func (f *File) readdir(op wire.Opcode, off uint64, size int) ([]byte, error) {
	in := wire.ReadIn{FH: f.FH, Offset: off, Size: uint32(size), Flags: f.Flags}
	return f.c.call(op, f.NodeID, f.old(sys.Bytes(&in), 24), nil)
}

// ReadAll reads a directory to its end with requests of size bytes, by READDIRPLUS if that was agreed on.
func (f *File) ReadAll(size int) ([]Dirent, error) {
	read := f.Readdir
	if f.c.k.Flags()&wire.InitDoReaddirplus != 0 {
		read = f.Readdirplus
	}
	var all []Dirent
	for off := uint64(0); ; {
		list, err := read(off, size)
		if err != nil || len(list) == 0 {
			return all, err
		}
		all = append(all, list...)
		off = list[len(list)-1].Off
	}
}
