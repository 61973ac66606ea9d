//go:build linux

package lowlevel

import (
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/notify"
	"github.com/purefuse/purefuse/wire"
)

// NodeID is the number under which the kernel knows an inode: the server's choice, unique while the kernel holds references.
type NodeID = notify.NodeID

// RootID is the node id of the root directory. It is never looked up and never forgotten.
const RootID NodeID = wire.RootID

// Op is an operation's number in the protocol.
type Op = wire.Opcode

// Errno is what the kernel is told of a failure; 0 is success.
type Errno = syscall.Errno

// Caller is who made the system call behind a request.
type Caller struct {
	UID, GID uint32 // file-system ids in the mount's user namespace; 0xffffffff on id-mapped mounts, but for creating requests
	PID      uint32 // thread id in the connection's pid namespace, 0 if it cannot be seen there
	Umask    uint32 // of creating requests, since minor 12; 0 otherwise
}

// Name is a borrowed file name, good until the reply.
type Name struct{ b []byte } // with its NUL

// String returns a copy of the name that may be kept.
func (n Name) String() string { return string(n.Bytes()) }

// Bytes returns the name itself, borrowed, without its NUL.
func (n Name) Bytes() []byte { return n.b[:n.Len():n.Len()] }

// Len is the length of the name in bytes.
func (n Name) Len() int { return max(len(n.b)-1, 0) }

// CStr returns the NUL-terminated name for system calls, borrowed; nil for the zero Name.
func (n Name) CStr() *byte {
	if len(n.b) == 0 {
		return nil
	}
	return &n.b[0]
}

// Time is a point in time as the protocol carries it.
type Time struct {
	Sec  int64
	Nsec uint32
}

// TimeOf converts a time.Time.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time converts to a time.Time.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// Stat is what stat(2) tells of an inode.
type Stat struct {
	Ino, Size, Blocks                    uint64 // Blocks are of 512 bytes
	Mode, Nlink, UID, GID, Rdev, Blksize uint32 // Rdev is the low half of the C library's dev_t
	Atime, Mtime, Ctime                  Time
	Flags                                wire.AttrFlags // AttrSubmount, AttrDAX
}

// StatOf converts the operating system's own form.
func StatOf(st *syscall.Stat_t) Stat {
	return Stat{
		Ino: uint64(st.Ino), Size: uint64(st.Size), Blocks: uint64(st.Blocks),
		Mode: uint32(st.Mode), Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: uint32(st.Rdev), Blksize: uint32(st.Blksize),
		Atime: Time{int64(st.Atim.Sec), uint32(st.Atim.Nsec)},
		Mtime: Time{int64(st.Mtim.Sec), uint32(st.Mtim.Nsec)},
		Ctime: Time{int64(st.Ctim.Sec), uint32(st.Ctim.Nsec)},
	}
}

// Statx is what statx(2) tells beyond Stat. Of the extra fields only Btime and the attributes reach the caller.
type Statx struct {
	Stat
	Mask                       uint32 // STATX_*: which fields are valid
	Attributes, AttributesMask uint64 // STATX_ATTR_*
	Btime                      Time
	RdevMajor, RdevMinor       uint32
	DevMajor, DevMinor         uint32
}

// Statfs is what statfs(2) tells of a file system; the kernel fills in type and id.
type Statfs struct {
	Blocks, Bfree, Bavail, Files, Ffree uint64
	Bsize, NameMax, Frsize              uint32
}

// Entry is the answer to a lookup: an inode and how long the kernel may believe it.
type Entry struct {
	NodeID       NodeID // 0: the name does not exist, and may be cached as such for EntryTimeout
	Generation   uint64 // tells apart inodes that had the same NodeID over time
	Attr         Stat
	AttrTimeout  time.Duration // negative counts as 0
	EntryTimeout time.Duration
}

// SetAttr is a change of attributes: only the fields that Valid names are set.
type SetAttr struct {
	Stat
	Valid wire.SetattrValid // FattrMode, FattrUID, FattrGID, FattrSize, FattrAtime, FattrMtime, FattrAtimeNow, FattrMtimeNow, FattrCtime, FattrKillSuidgid
}

// Has reports whether all of v are to be changed.
func (a *SetAttr) Has(v wire.SetattrValid) bool { return a.Valid&v == v }

// Flock is a POSIX record lock over [Start, End], both inclusive; End is LockEOF for a lock to the end of the file.
type Flock struct {
	Type       int16 // syscall.F_RDLCK, F_WRLCK, F_UNLCK
	Start, End uint64
	PID        uint32
}

// LockEOF is the Flock.End of a lock that reaches to the end of the file.
const LockEOF = 1<<63 - 1

// Len is the lock's length as in struct flock, 0 for one to the end of the file.
func (l *Flock) Len() int64 {
	if l.End == LockEOF {
		return 0
	}
	return int64(l.End - l.Start + 1)
}

// Forget is one element of a batch of forgets.
type Forget struct {
	NodeID NodeID
	N      uint64 // how many lookups the kernel gives back
}

// IOVec is a piece of the caller's memory that an unrestricted ioctl wants to have copied.
type IOVec struct{ Base, Len uint64 }

// BackingID names a file registered with the kernel for passthrough.
type BackingID int32

// FileInfo is libfuse's struct fuse_file_info: what the kernel says about an open file, and in the replies to open and create
// what the server says. It lives in the request and is good until the reply.
type FileInfo struct {
	Flags     int32  // open(2) flags; in OPEN, CREATE, READ, WRITE, RELEASE
	FH        uint64 // the server's file handle
	LockOwner uint64 // in FLUSH, READ, WRITE, RELEASE and locks

	WritePage    bool // in WRITE: comes from the page cache, the handle is any of the inode's
	Flush        bool // in FLUSH, and in RELEASE if a flush is due
	FlockRelease bool // in RELEASE: drop the flock locks of LockOwner
	KillPriv     bool // in OPEN, CREATE, WRITE: drop suid, sgid and file capabilities (CapHandleKillprivV2)

	DirectIO             bool // out: no page cache for this open
	KeepCache            bool // out: do not drop the page cache at open
	NonSeekable          bool // out
	CacheReaddir         bool // out: keep the directory's listing, OPENDIR only (minor 28)
	NoFlush              bool // out: no FLUSH at close(2)
	ParallelDirectWrites bool // out: several direct writes at once, with DirectIO
	Stream               bool // out: a stream, without offsets (minor 31)

	PollEvents uint32    // in POLL: what the caller waits for
	Backing    BackingID // out: reads and writes go to this file without the server; 0: none
}

// openFlags are the flags of the reply to OPEN, OPENDIR and CREATE.
func (fi *FileInfo) openFlags() (f wire.FopenFlags) {
	set := func(on bool, flag wire.FopenFlags) {
		if on {
			f |= flag
		}
	}
	set(fi.DirectIO, wire.FopenDirectIO)
	set(fi.KeepCache, wire.FopenKeepCache)
	set(fi.CacheReaddir, wire.FopenCacheDir)
	set(fi.NonSeekable, wire.FopenNonseekable)
	set(fi.NoFlush, wire.FopenNoflush)
	set(fi.Stream, wire.FopenStream)
	set(fi.ParallelDirectWrites, wire.FopenParallelDirectWrites)
	set(fi.Backing > 0, wire.FopenPassthrough)
	return f
}

func (fi *FileInfo) put(o *wire.OpenOut) {
	*o = wire.OpenOut{FH: fi.FH, OpenFlags: uint32(fi.openFlags())}
	if fi.Backing > 0 {
		o.BackingID = int32(fi.Backing)
	}
}

func (st *Stat) put(a *wire.Attr) {
	*a = wire.Attr{
		Ino: st.Ino, Size: st.Size, Blocks: st.Blocks,
		Atime: uint64(st.Atime.Sec), Mtime: uint64(st.Mtime.Sec), Ctime: uint64(st.Ctime.Sec),
		AtimeNsec: st.Atime.Nsec, MtimeNsec: st.Mtime.Nsec, CtimeNsec: st.Ctime.Nsec,
		Mode: st.Mode, Nlink: st.Nlink, UID: st.UID, GID: st.GID, Rdev: st.Rdev, Blksize: st.Blksize, Flags: uint32(st.Flags),
	}
}

// split cuts a timeout into the protocol's seconds and nanoseconds.
func split(d time.Duration) (sec uint64, nsec uint32) {
	if d <= 0 {
		return 0, 0
	}
	return uint64(d / time.Second), uint32(d % time.Second)
}

func (e *Entry) put(o *wire.EntryOut) {
	o.NodeID, o.Generation = uint64(e.NodeID), e.Generation
	o.EntryValid, o.EntryValidNsec = split(e.EntryTimeout)
	o.AttrValid, o.AttrValidNsec = split(e.AttrTimeout)
	e.Attr.put(&o.Attr)
}

func (s *Statx) put(o *wire.Statx) {
	t := func(t Time) wire.SxTime { return wire.SxTime{TvSec: t.Sec, TvNsec: t.Nsec} }
	*o = wire.Statx{
		Mask: s.Mask, Blksize: s.Blksize, Attributes: s.Attributes, Nlink: s.Nlink, UID: s.UID, GID: s.GID, Mode: uint16(s.Mode),
		Ino: s.Ino, Size: s.Size, Blocks: s.Blocks, AttributesMask: s.AttributesMask,
		Atime: t(s.Atime), Btime: t(s.Btime), Ctime: t(s.Ctime), Mtime: t(s.Mtime),
		RdevMajor: s.RdevMajor, RdevMinor: s.RdevMinor, DevMajor: s.DevMajor, DevMinor: s.DevMinor,
	}
}

var entryOutSize, attrOutSize = sys.SizeOf[wire.EntryOut](), sys.SizeOf[wire.AttrOut]()
