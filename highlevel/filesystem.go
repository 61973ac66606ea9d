//go:build linux

package highlevel

import (
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// Filesystem is one layer of file systems, libfuse's struct fuse_fs: a module calls the layer below it through these methods,
// which are libfuse's fuse_fs_ functions. They give what a missing operation gives, put the other of Read and ReadBuf,
// Write and WriteBuf in its place, and set Context.Private for the time of the call.
type Filesystem struct {
	ops     Operations
	private any
	fs      *FS
	debug   bool
}

// NewFilesystem makes a layer of a file system, libfuse's fuse_fs_new. ops is copied; nil has no operations.
func NewFilesystem(ops *Operations, private any) *Filesystem {
	l := &Filesystem{private: private}
	if ops != nil {
		l.ops = *ops
	}
	return l
}

// Operations is the layer's table, to see which operations there are.
func (l *Filesystem) Operations() Operations { return l.ops }

// enter makes c that of the layer; leave takes that back.
func (l *Filesystem) enter(c *Context) (private any, other bool) {
	if c.FS != nil && c.FS.top == l && len(c.FS.cfg.Modules) == 0 {
		return nil, false
	}
	private, c.Private = c.Private, l.private
	return private, true
}

func (c *Context) leave(private any, other bool) {
	if other {
		c.Private = private
	}
}

const nosys = syscall.ENOSYS

// Init calls Operations.Init, and first unsets the capabilities that need an operation which is not there.
func (l *Filesystem) Init(conn *Conn, cfg *Config) (err error) {
	if l.ops.WriteBuf == nil {
		conn.Unwant(lowlevel.CapSpliceRead)
	}
	if l.ops.Lock == nil {
		conn.Unwant(lowlevel.CapPosixLocks)
	}
	if l.ops.Flock == nil {
		conn.Unwant(lowlevel.CapFlockLocks)
	}
	if l.ops.Init != nil {
		l.private, err = l.ops.Init(conn, cfg)
	}
	return err
}

// Destroy calls Operations.Destroy.
func (l *Filesystem) Destroy() {
	if l.ops.Destroy != nil {
		l.ops.Destroy(l.private)
	}
}

// Getattr calls Operations.Getattr, or fails with ENOSYS.
func (l *Filesystem) Getattr(c *Context, path string, st *Stat, fi *FileInfo) error {
	if l.debug {
		l.trace("getattr[%s] %s", handle(fi), path)
	}
	if l.ops.Getattr == nil {
		return nosys
	}
	private, other := l.enter(c)
	err := l.ops.Getattr(c, path, st, fi)
	c.leave(private, other)
	return err
}

// Statx calls Operations.Statx, or fails with ENOSYS.
func (l *Filesystem) Statx(c *Context, path string, flags, mask uint32, stx *Statx, fi *FileInfo) error {
	if l.debug {
		l.trace("statx[%s] %s %d %d", handle(fi), path, flags, mask)
	}
	if l.ops.Statx == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Statx(c, path, flags, mask, stx, fi)
}

// Readlink calls Operations.Readlink, or fails with ENOSYS.
func (l *Filesystem) Readlink(c *Context, path string) (string, error) {
	if l.debug {
		l.trace("readlink %s %d", path, maxTarget+1)
	}
	if l.ops.Readlink == nil {
		return "", nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Readlink(c, path)
}

// Mknod calls Operations.Mknod, or fails with ENOSYS.
func (l *Filesystem) Mknod(c *Context, path string, mode, rdev uint32) error {
	if l.debug {
		l.trace("mknod %s 0%o 0x%x umask=0%03o", path, mode, rdev, c.Umask)
	}
	if l.ops.Mknod == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Mknod(c, path, mode, rdev)
}

// Mkdir calls Operations.Mkdir, or fails with ENOSYS.
func (l *Filesystem) Mkdir(c *Context, path string, mode uint32) error {
	if l.debug {
		l.trace("mkdir %s 0%o umask=0%03o", path, mode, c.Umask)
	}
	if l.ops.Mkdir == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Mkdir(c, path, mode)
}

// Unlink calls Operations.Unlink, or fails with ENOSYS.
func (l *Filesystem) Unlink(c *Context, path string) error {
	if l.debug {
		l.trace("unlink %s", path)
	}
	if l.ops.Unlink == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Unlink(c, path)
}

// Rmdir calls Operations.Rmdir, or fails with ENOSYS.
func (l *Filesystem) Rmdir(c *Context, path string) error {
	if l.debug {
		l.trace("rmdir %s", path)
	}
	if l.ops.Rmdir == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Rmdir(c, path)
}

// Symlink calls Operations.Symlink, or fails with ENOSYS.
func (l *Filesystem) Symlink(c *Context, target, path string) error {
	if l.debug {
		l.trace("symlink %s %s", target, path)
	}
	if l.ops.Symlink == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Symlink(c, target, path)
}

// Rename calls Operations.Rename, or fails with ENOSYS.
func (l *Filesystem) Rename(c *Context, from, to string, flags uint32) error {
	if l.debug {
		l.trace("rename %s %s 0x%x", from, to, flags)
	}
	if l.ops.Rename == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Rename(c, from, to, flags)
}

// Link calls Operations.Link, or fails with ENOSYS.
func (l *Filesystem) Link(c *Context, from, to string) error {
	if l.debug {
		l.trace("link %s %s", from, to)
	}
	if l.ops.Link == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Link(c, from, to)
}

// Chmod calls Operations.Chmod, or fails with ENOSYS.
func (l *Filesystem) Chmod(c *Context, path string, mode uint32, fi *FileInfo) error {
	if l.debug {
		l.trace("chmod[%s] %s %o", handle(fi), path, mode)
	}
	if l.ops.Chmod == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Chmod(c, path, mode, fi)
}

// Chown calls Operations.Chown, or fails with ENOSYS.
func (l *Filesystem) Chown(c *Context, path string, uid, gid uint32, fi *FileInfo) error {
	if l.debug {
		l.trace("chown[%s] %s %d %d", handle(fi), path, uid, gid)
	}
	if l.ops.Chown == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Chown(c, path, uid, gid, fi)
}

// Truncate calls Operations.Truncate, or fails with ENOSYS.
func (l *Filesystem) Truncate(c *Context, path string, size int64, fi *FileInfo) error {
	if l.debug {
		l.trace("truncate[%s] %d", handle(fi), size)
	}
	if l.ops.Truncate == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Truncate(c, path, size, fi)
}

// Utimens calls Operations.Utimens, or fails with ENOSYS.
func (l *Filesystem) Utimens(c *Context, path string, atime, mtime Time, fi *FileInfo) error {
	if l.debug {
		l.trace("utimens[%s] %s %d.%09d %d.%09d", handle(fi), path, atime.Sec, atime.Nsec, mtime.Sec, mtime.Nsec)
	}
	if l.ops.Utimens == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Utimens(c, path, atime, mtime, fi)
}

// Access calls Operations.Access, or fails with ENOSYS.
func (l *Filesystem) Access(c *Context, path string, mask uint32) error {
	if l.debug {
		l.trace("access %s 0%o", path, mask)
	}
	if l.ops.Access == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Access(c, path, mask)
}

// Statfs calls Operations.Statfs, or gives a name length of 255 and a block size of 512.
func (l *Filesystem) Statfs(c *Context, path string, st *Statfs) error {
	if l.debug {
		l.trace("statfs %s", path)
	}
	if l.ops.Statfs == nil {
		st.NameMax, st.Bsize = 255, 512
		return nil
	}
	defer c.leave(l.enter(c))
	return l.ops.Statfs(c, path, st)
}

// Syncfs calls Operations.Syncfs, or fails with ENOSYS.
func (l *Filesystem) Syncfs(c *Context, path string) error {
	if l.debug {
		l.trace("syncfs[%s]", path)
	}
	if l.ops.Syncfs == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Syncfs(c, path)
}

// Setxattr calls Operations.Setxattr, or fails with ENOSYS.
func (l *Filesystem) Setxattr(c *Context, path, name string, value []byte, flags int) error {
	if l.debug {
		l.trace("setxattr %s %s %d 0x%x", path, name, len(value), flags)
	}
	if l.ops.Setxattr == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Setxattr(c, path, name, value, flags)
}

// Getxattr calls Operations.Getxattr, or fails with ENOSYS.
func (l *Filesystem) Getxattr(c *Context, path, name string, dst []byte) (int, error) {
	if l.debug {
		l.trace("getxattr %s %s %d", path, name, len(dst))
	}
	if l.ops.Getxattr == nil {
		return 0, nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Getxattr(c, path, name, dst)
}

// Listxattr calls Operations.Listxattr, or fails with ENOSYS.
func (l *Filesystem) Listxattr(c *Context, path string, dst []byte) (int, error) {
	if l.debug {
		l.trace("listxattr %s %d", path, len(dst))
	}
	if l.ops.Listxattr == nil {
		return 0, nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Listxattr(c, path, dst)
}

// Removexattr calls Operations.Removexattr, or fails with ENOSYS.
func (l *Filesystem) Removexattr(c *Context, path, name string) error {
	if l.debug {
		l.trace("removexattr %s %s", path, name)
	}
	if l.ops.Removexattr == nil {
		return nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Removexattr(c, path, name)
}

// Bmap calls Operations.Bmap, or fails with ENOSYS.
func (l *Filesystem) Bmap(c *Context, path string, blocksize int, idx uint64) (uint64, error) {
	if l.debug {
		l.trace("bmap %s blocksize: %d index: %d", path, blocksize, idx)
	}
	if l.ops.Bmap == nil {
		return 0, nosys
	}
	defer c.leave(l.enter(c))
	return l.ops.Bmap(c, path, blocksize, idx)
}
