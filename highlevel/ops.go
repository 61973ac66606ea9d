//go:build linux

package highlevel

import (
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// What both APIs share.
type (
	FileInfo   = lowlevel.FileInfo
	Stat       = lowlevel.Stat
	Statx      = lowlevel.Statx
	Statfs     = lowlevel.Statfs
	Flock      = lowlevel.Flock
	Conn       = lowlevel.Conn
	Buf        = lowlevel.Buf
	BufVec     = lowlevel.BufVec
	PollHandle = lowlevel.PollHandle
	Time       = lowlevel.Time
	NodeID     = lowlevel.NodeID
)

// Values of Time.Nsec in Utimens.
const (
	UtimeNow  = 1<<30 - 1 // the time of the call
	UtimeOmit = 1<<30 - 2 // leave it
)

// KeepID is the user or group that Chown shall leave as it is.
const KeepID = ^uint32(0)

// The flags of Rename.
const (
	RenameNoreplace = 1 << 0
	RenameExchange  = 1 << 1
	RenameWhiteout  = 1 << 2
)

// Errno is what the kernel is told of an error: the first syscall.Errno in its chain; else what the errors of package fs and of
// contexts stand for; else EIO. nil is 0.
func Errno(err error) syscall.Errno { return lowlevel.ErrnoOf(err) }

// Operations is the table of a file system: libfuse's struct fuse_operations, in its order.
//
// Functions that get a *FileInfo which may be nil say so. Of functions in group A the path may be "" (see the package
// comment): Read, ReadBuf, Write, WriteBuf, Flush, Release, Fsync, Readdir, Releasedir, Fsyncdir, Lock, Flock, Ioctl, Poll,
// Fallocate, CopyFileRange, and with a FileInfo Getattr, Statx, Chmod, Chown, Truncate and Utimens. All others fail with
// ESTALE before they are called if the file has no name any more.
type Operations struct {
	// Getattr answers stat(2), every lookup of a name, and follows everything that creates or changes something. fi is nil
	// unless an open file is meant. st.Ino is replaced by the node id unless Config.UseIno.
	Getattr func(c *Context, path string, st *Stat, fi *FileInfo) error
	// Readlink answers readlink(2). A target longer than 4096 bytes is cut off.
	Readlink func(c *Context, path string) (target string, err error)
	// Mknod answers mknod(2). Regular files are made by Create if that is there.
	Mknod func(c *Context, path string, mode, rdev uint32) error
	// Mkdir answers mkdir(2); mode lacks the type bits.
	Mkdir func(c *Context, path string, mode uint32) error
	// Unlink answers unlink(2). A file that is open is renamed instead and unlinked when it is closed, unless Config.HardRemove.
	Unlink func(c *Context, path string) error
	// Rmdir answers rmdir(2).
	Rmdir func(c *Context, path string) error
	// Symlink answers symlink(2).
	Symlink func(c *Context, target, path string) error
	// Rename answers rename(2) and renameat2(2); flags that it cannot honour must give EINVAL. The library itself renames
	// open files that are removed, with flags 0.
	Rename func(c *Context, from, to string, flags uint32) error
	// Link answers link(2). The new name gets an inode of its own unless Config.UseIno.
	Link func(c *Context, from, to string) error
	// Chmod answers chmod(2). fi may be nil.
	Chmod func(c *Context, path string, mode uint32, fi *FileInfo) error
	// Chown answers chown(2); KeepID leaves one of the two. fi may be nil.
	Chown func(c *Context, path string, uid, gid uint32, fi *FileInfo) error
	// Truncate answers truncate(2) and, with fi, ftruncate(2).
	Truncate func(c *Context, path string, size int64, fi *FileInfo) error
	// Open answers open(2); flags lack O_CREAT, O_EXCL, O_NOCTTY. Its answer is in fi: FH, DirectIO, KeepCache, NonSeekable,
	// NoFlush, ParallelDirectWrites, Backing. nil: success.
	Open func(c *Context, path string, fi *FileInfo) error
	// Read fills p and returns how many bytes; fewer mean the end of the file, unless DirectIO.
	Read func(c *Context, path string, p []byte, off int64, fi *FileInfo) (int, error)
	// Write takes p and returns how many bytes it took, all of them unless DirectIO.
	Write func(c *Context, path string, p []byte, off int64, fi *FileInfo) (int, error)
	// Statfs answers statfs(2). nil: name length 255, block size 512.
	Statfs func(c *Context, path string, st *Statfs) error
	// Flush answers each close(2) of a descriptor. nil: success if Lock is there, else the kernel is told not to send it.
	Flush func(c *Context, path string, fi *FileInfo) error
	// Release is called once for each open; its error goes nowhere. nil: success.
	Release func(c *Context, path string, fi *FileInfo) error
	// Fsync answers fsync(2) and fdatasync(2).
	Fsync func(c *Context, path string, datasync bool, fi *FileInfo) error
	// Setxattr answers setxattr(2).
	Setxattr func(c *Context, path, name string, value []byte, flags int) error
	// Getxattr answers getxattr(2): it fills dst and returns the value's length, also if dst is empty; ERANGE if dst is too small.
	Getxattr func(c *Context, path, name string, dst []byte) (int, error)
	// Listxattr answers listxattr(2) as Getxattr does, with NUL-terminated names.
	Listxattr func(c *Context, path string, dst []byte) (int, error)
	// Removexattr answers removexattr(2).
	Removexattr func(c *Context, path, name string) error
	// Opendir answers open(2) of a directory. Of its answer FH, CacheReaddir and KeepCache count. nil: success.
	Opendir func(c *Context, path string, fi *FileInfo) error
	// Readdir lists a directory, "." and ".." included, in one of two ways: it gives every entry an offset other than 0, goes on
	// behind off and stops when Add returns false; or it ignores off, gives no offsets and lists everything at once. plus says
	// that the kernel would like to have attributes, which AddPlus passes on.
	Readdir func(c *Context, path string, fill Filler, off uint64, fi *FileInfo, plus bool) error
	// Releasedir is to Opendir what Release is to Open. nil: success.
	Releasedir func(c *Context, path string, fi *FileInfo) error
	// Fsyncdir answers fsync(2) of a directory.
	Fsyncdir func(c *Context, path string, datasync bool, fi *FileInfo) error
	// Init is called while FUSE_INIT is answered. It may change conn and cfg, which is the live configuration. What it
	// returns becomes Context.Private; an error fails the mount.
	Init func(conn *Conn, cfg *Config) (private any, err error)
	// Destroy is called once, at the end of the session, if Init was answered.
	Destroy func(private any)
	// Access answers access(2) and chdir(2), unless the mount has default_permissions.
	Access func(c *Context, path string, mask uint32) error
	// Create creates and opens a regular file, with an answer as Open's. nil, or ENOSYS: the kernel uses Mknod and Open.
	Create func(c *Context, path string, mode uint32, fi *FileInfo) error
	// Lock answers fcntl(2) with cmd F_GETLK, F_SETLK and F_SETLKW; fi.LockOwner tells owners apart. nil: the kernel keeps
	// the locks by itself.
	Lock func(c *Context, path string, fi *FileInfo, cmd int, lk *Flock) error
	// Utimens sets the times; Nsec may be UtimeNow or UtimeOmit. fi may be nil.
	Utimens func(c *Context, path string, atime, mtime Time, fi *FileInfo) error
	// Bmap answers FIBMAP, on fuseblk mounts only.
	Bmap func(c *Context, path string, blocksize int, idx uint64) (uint64, error)
	// Ioctl answers ioctl(2). data is what the kernel copied from the caller and what goes back to it, of the size that cmd
	// says. flags are those of the protocol.
	Ioctl func(c *Context, path string, cmd uint32, arg uint64, fi *FileInfo, flags uint32, data []byte) (int32, error)
	// Poll answers poll(2) with the events that are ready. ph is nil unless the caller waits; it may be kept, see
	// PollHandle.Notify. fi.PollEvents is what the caller waits for.
	Poll func(c *Context, path string, fi *FileInfo, ph *PollHandle) (revents uint32, err error)
	// WriteBuf is Write with the data as a BufVec and takes its place. nil: Write.
	WriteBuf func(c *Context, path string, buf *BufVec, off int64, fi *FileInfo) (int, error)
	// ReadBuf is Read that says where the data are, in memory or in a file, and takes its place. nil: Read.
	ReadBuf func(c *Context, path string, size int, off int64, fi *FileInfo) (*BufVec, error)
	// Flock answers flock(2). nil: the kernel keeps the locks by itself.
	Flock func(c *Context, path string, fi *FileInfo, op int) error
	// Fallocate answers fallocate(2).
	Fallocate func(c *Context, path string, mode uint32, off, length int64, fi *FileInfo) error
	// CopyFileRange answers copy_file_range(2) within the mount.
	CopyFileRange func(c *Context, from string, fi *FileInfo, off int64, to string, fo *FileInfo, offo int64, n int, flags int) (int, error)
	// Lseek answers lseek(2) with SEEK_DATA and SEEK_HOLE.
	Lseek func(c *Context, path string, off int64, whence int, fi *FileInfo) (int64, error)
	// Statx answers statx(2) when the birth time is asked for. fi may be nil. nil, or ENOSYS: the kernel uses Getattr.
	Statx func(c *Context, path string, flags, mask uint32, stx *Statx, fi *FileInfo) error
	// Syncfs answers syncfs(2), on fuseblk mounts only.
	Syncfs func(c *Context, path string) error
}

// Filler takes the entries of a directory.
type Filler interface {
	// Add adds an entry and reports whether there is room for more; of st, which may be nil, the file type counts, and with
	// Config.UseIno the inode number. With an offset other than 0, false says that the entry was not added.
	Add(name string, st *Stat, off uint64) bool
	// AddPlus is Add with all of st, if the kernel asked for it.
	AddPlus(name string, st *Stat, off uint64) bool
}
