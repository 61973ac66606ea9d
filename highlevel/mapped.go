//go:build linux

package highlevel

// mapped is the table of a module that hands everything to next, with paths changed by to. "" is no path, and to leaves it.
func mapped(next *Filesystem, to func(path string) (string, error)) *Operations {
	at := func(path string, op func(path string) error) error {
		p, err := to(path)
		if err != nil {
			return err
		}
		return op(p)
	}
	at2 := func(a, b string, op func(a, b string) error) error {
		p, err := to(a)
		if err != nil {
			return err
		}
		q, err := to(b)
		if err != nil {
			return err
		}
		return op(p, q)
	}
	o := &Operations{
		Init:    func(conn *Conn, cfg *Config) (any, error) { return nil, next.Init(conn, cfg) },
		Destroy: func(any) { next.Destroy() },
		Getattr: func(c *Context, path string, st *Stat, fi *FileInfo) error {
			p, err := to(path)
			if err != nil {
				return err
			}
			return next.Getattr(c, p, st, fi)
		},
		Readlink: func(c *Context, path string) (target string, err error) {
			err = at(path, func(p string) (err error) { target, err = next.Readlink(c, p); return err })
			return target, err
		},
		Mknod: func(c *Context, path string, mode, rdev uint32) error {
			return at(path, func(p string) error { return next.Mknod(c, p, mode, rdev) })
		},
		Mkdir: func(c *Context, path string, mode uint32) error {
			return at(path, func(p string) error { return next.Mkdir(c, p, mode) })
		},
		Unlink: func(c *Context, path string) error {
			return at(path, func(p string) error { return next.Unlink(c, p) })
		},
		Rmdir: func(c *Context, path string) error {
			return at(path, func(p string) error { return next.Rmdir(c, p) })
		},
		Symlink: func(c *Context, target, path string) error {
			return at(path, func(p string) error { return next.Symlink(c, target, p) })
		},
		Rename: func(c *Context, from, to string, flags uint32) error {
			return at2(from, to, func(from, to string) error { return next.Rename(c, from, to, flags) })
		},
		Link: func(c *Context, from, to string) error {
			return at2(from, to, func(from, to string) error { return next.Link(c, from, to) })
		},
		Chmod: func(c *Context, path string, mode uint32, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Chmod(c, p, mode, fi) })
		},
		Chown: func(c *Context, path string, uid, gid uint32, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Chown(c, p, uid, gid, fi) })
		},
		Truncate: func(c *Context, path string, size int64, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Truncate(c, p, size, fi) })
		},
		Open: func(c *Context, path string, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Open(c, p, fi) })
		},
		Create: func(c *Context, path string, mode uint32, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Create(c, p, mode, fi) })
		},
		ReadBuf: func(c *Context, path string, size int, off int64, fi *FileInfo) (buf *BufVec, err error) {
			err = at(path, func(p string) (err error) { buf, err = next.ReadBuf(c, p, size, off, fi); return err })
			return buf, err
		},
		WriteBuf: func(c *Context, path string, buf *BufVec, off int64, fi *FileInfo) (n int, err error) {
			err = at(path, func(p string) (err error) { n, err = next.WriteBuf(c, p, buf, off, fi); return err })
			return n, err
		},
		Statfs: func(c *Context, path string, st *Statfs) error {
			return at(path, func(p string) error { return next.Statfs(c, p, st) })
		},
		Flush: func(c *Context, path string, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Flush(c, p, fi) })
		},
		Release: func(c *Context, path string, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Release(c, p, fi) })
		},
		Fsync: func(c *Context, path string, datasync bool, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Fsync(c, p, datasync, fi) })
		},
		Setxattr: func(c *Context, path, name string, value []byte, flags int) error {
			return at(path, func(p string) error { return next.Setxattr(c, p, name, value, flags) })
		},
		Getxattr: func(c *Context, path, name string, dst []byte) (n int, err error) {
			err = at(path, func(p string) (err error) { n, err = next.Getxattr(c, p, name, dst); return err })
			return n, err
		},
		Listxattr: func(c *Context, path string, dst []byte) (n int, err error) {
			err = at(path, func(p string) (err error) { n, err = next.Listxattr(c, p, dst); return err })
			return n, err
		},
		Removexattr: func(c *Context, path, name string) error {
			return at(path, func(p string) error { return next.Removexattr(c, p, name) })
		},
		Opendir: func(c *Context, path string, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Opendir(c, p, fi) })
		},
		Readdir: func(c *Context, path string, fill Filler, off uint64, fi *FileInfo, plus bool) error {
			return at(path, func(p string) error { return next.Readdir(c, p, fill, off, fi, plus) })
		},
		Releasedir: func(c *Context, path string, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Releasedir(c, p, fi) })
		},
		Fsyncdir: func(c *Context, path string, datasync bool, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Fsyncdir(c, p, datasync, fi) })
		},
		Access: func(c *Context, path string, mask uint32) error {
			return at(path, func(p string) error { return next.Access(c, p, mask) })
		},
		Lock: func(c *Context, path string, fi *FileInfo, cmd int, lk *Flock) error {
			return at(path, func(p string) error { return next.Lock(c, p, fi, cmd, lk) })
		},
		Utimens: func(c *Context, path string, atime, mtime Time, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Utimens(c, p, atime, mtime, fi) })
		},
		Bmap: func(c *Context, path string, blocksize int, idx uint64) (out uint64, err error) {
			err = at(path, func(p string) (err error) { out, err = next.Bmap(c, p, blocksize, idx); return err })
			return out, err
		},
		Ioctl: func(c *Context, path string, cmd uint32, arg uint64, fi *FileInfo, flags uint32, data []byte) (n int32, err error) {
			err = at(path, func(p string) (err error) { n, err = next.Ioctl(c, p, cmd, arg, fi, flags, data); return err })
			return n, err
		},
		Poll: func(c *Context, path string, fi *FileInfo, ph *PollHandle) (revents uint32, err error) {
			err = at(path, func(p string) (err error) { revents, err = next.Poll(c, p, fi, ph); return err })
			return revents, err
		},
		Flock: func(c *Context, path string, fi *FileInfo, op int) error {
			return at(path, func(p string) error { return next.Flock(c, p, fi, op) })
		},
		Fallocate: func(c *Context, path string, mode uint32, off, length int64, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Fallocate(c, p, mode, off, length, fi) })
		},
		CopyFileRange: func(c *Context, from string, fi *FileInfo, off int64, to string, fo *FileInfo, offo int64, n int, flags int) (copied int, err error) {
			err = at2(from, to, func(from, to string) (err error) {
				copied, err = next.CopyFileRange(c, from, fi, off, to, fo, offo, n, flags)
				return err
			})
			return copied, err
		},
		Lseek: func(c *Context, path string, off int64, whence int, fi *FileInfo) (out int64, err error) {
			err = at(path, func(p string) (err error) { out, err = next.Lseek(c, p, off, whence, fi); return err })
			return out, err
		},
		Statx: func(c *Context, path string, flags, mask uint32, stx *Statx, fi *FileInfo) error {
			return at(path, func(p string) error { return next.Statx(c, p, flags, mask, stx, fi) })
		},
		Syncfs: func(c *Context, path string) error {
			return at(path, func(p string) error { return next.Syncfs(c, p) })
		},
	}
	if next.ops.ReadBuf == nil { // Read can then fill the transport's memory
		o.ReadBuf = nil
		o.Read = func(c *Context, path string, dst []byte, off int64, fi *FileInfo) (n int, err error) {
			err = at(path, func(p string) (err error) { n, err = next.Read(c, p, dst, off, fi); return err })
			return n, err
		}
	}
	return o
}
