//go:build linux

package highlevel

import (
	"io"
	"os"
	"path"
	"runtime"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
)

// FromRoot makes a file system of a directory, with everything that the directory's own file system can do. It never leaves
// root, whatever symlinks others make there meanwhile. POSIX and flock locks are kept by the kernel, among the users of the
// mount. New files belong to the caller if the server is root.
//
// Everything is done with the server's rights: a mount for more than one user wants default_permissions. Init sets UseIno,
// NullPathOK, HardRemove, and timeouts of 0, so that changes made beside the mount, and through other names of a file, show at once.
// root must stay open as long as the file system.
func FromRoot(root *os.Root) *Operations {
	r := &rooted{root: root, super: os.Geteuid() == 0}
	return &Operations{
		Init:    r.init,
		Getattr: r.getattr, Statx: r.statx, Readlink: r.readlink, Access: r.access, Statfs: r.statfs,
		Mknod: r.mknod, Mkdir: r.mkdir, Unlink: r.unlink, Rmdir: r.rmdir, Symlink: r.symlink, Rename: r.rename, Link: r.link,
		Chmod: r.chmod, Chown: r.chown, Truncate: r.truncate, Utimens: r.utimens,
		Open: r.open, Create: r.create, ReadBuf: r.readBuf, WriteBuf: r.writeBuf, Flush: r.flush, Release: r.release, Fsync: r.fsync,
		Fallocate: r.fallocate, CopyFileRange: r.copyFileRange, Lseek: r.lseek,
		Setxattr: r.setxattr, Getxattr: r.getxattr, Listxattr: r.listxattr, Removexattr: r.removexattr,
		Opendir: r.opendir, Readdir: r.readdir, Releasedir: r.release, Fsyncdir: r.fsync,
	}
}

// rooted is a directory that is mounted.
type rooted struct {
	root  *os.Root
	super bool // may give files away
	files lowlevel.Handles[*os.File]
}

func (r *rooted) init(_ *Conn, cfg *Config) (any, error) {
	cfg.UseIno, cfg.NullPathOK, cfg.HardRemove = true, true, true
	cfg.EntryTimeout, cfg.AttrTimeout, cfg.NegativeTimeout = 0, 0, 0
	return nil, nil
}

// at opens the directory that a path's last name is in.
func (r *rooted) at(name string) (sys.At, error) {
	name = local(name)
	dir, base := path.Split(name)
	switch {
	case name == ".":
		dir, base = ".", ""
	case dir == "":
		dir = "."
	}
	f, err := r.root.OpenFile(dir, sys.OPath|syscall.O_DIRECTORY, 0)
	return sys.At{Dir: f, Name: base}, err
}

// do runs op on a path.
func (r *rooted) do(name string, op func(sys.At) error) error {
	a, err := r.at(name)
	if err != nil {
		return err
	}
	defer a.Dir.Close()
	return op(a)
}

// do2 runs op on two paths.
func (r *rooted) do2(from, to string, op func(from, to sys.At) error) error {
	return r.do(from, func(a sys.At) error {
		return r.do(to, func(b sys.At) error { return op(a, b) })
	})
}

// on runs op on an open file, or on a path if there is none.
func (r *rooted) on(name string, fi *FileInfo, op func(sys.At) error) error {
	if fi != nil {
		f, ok := r.files.Get(fi.FH)
		if !ok {
			return syscall.EBADF
		}
		return op(sys.At{Dir: f})
	}
	return r.do(name, op)
}

// file runs op on an open file.
func (r *rooted) file(fi *FileInfo, op func(*os.File) error) error {
	f, ok := r.files.Get(fi.FH)
	if !ok {
		return syscall.EBADF
	}
	defer runtime.KeepAlive(f)
	return op(f)
}

func (r *rooted) getattr(_ *Context, name string, st *Stat, fi *FileInfo) error {
	return r.on(name, fi, func(a sys.At) error { return lstat(a, st) })
}

func lstat(a sys.At, st *Stat) error {
	var s syscall.Stat_t
	err := a.Lstat(&s)
	if err == nil {
		*st = lowlevel.StatOf(&s)
	}
	return err
}

func (r *rooted) statx(_ *Context, name string, _, mask uint32, stx *Statx, fi *FileInfo) error {
	return r.on(name, fi, func(a sys.At) error {
		if err := lstat(a, &stx.Stat); err != nil {
			return err
		}
		var s sys.Statx
		if err := a.Statx(mask|statxBasic, &s); err != nil {
			return err
		}
		stx.Mask, stx.Attributes, stx.AttributesMask = s.Mask, s.Attributes, s.Attributes_mask
		stx.Btime = Time{Sec: s.Btime.Sec, Nsec: s.Btime.Nsec}
		stx.RdevMajor, stx.RdevMinor, stx.DevMajor, stx.DevMinor = s.Rdev_major, s.Rdev_minor, s.Dev_major, s.Dev_minor
		return nil
	})
}

// statxBasic is STATX_BASIC_STATS.
const statxBasic = 0x7ff

func (r *rooted) readlink(_ *Context, name string) (target string, err error) {
	err = r.do(name, func(a sys.At) error { target, err = a.Readlink(); return err })
	return target, err
}

func (r *rooted) access(_ *Context, name string, mask uint32) error {
	return r.do(name, func(a sys.At) error { return a.Access(mask) })
}

func (r *rooted) statfs(_ *Context, name string, st *Statfs) error {
	return r.do(name, func(a sys.At) error {
		var s sys.Statfs
		if err := sys.Fstatfs(int(a.Dir.Fd()), &s); err != nil {
			return err
		}
		*st = Statfs{
			Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail, Files: s.Files, Ffree: s.Ffree,
			Bsize: uint32(s.Bsize), NameMax: uint32(s.Namelen), Frsize: uint32(s.Frsize),
		}
		return nil
	})
}

// made gives what was created the owner and the mode that it would have without this server and its umask between. group says
// that the directory hands its group down.
func (r *rooted) made(c *Context, a sys.At, mode uint32) error {
	var s syscall.Stat_t
	if err := a.Lstat(&s); err != nil {
		return err
	}
	st := lowlevel.StatOf(&s)
	inherits := st.Mode&modeType == modeDir && st.Mode&syscall.S_ISGID != 0
	if r.super && (st.UID != c.UID || st.GID != c.GID) {
		var dir syscall.Stat_t
		if err := (sys.At{Dir: a.Dir}).Lstat(&dir); err != nil {
			return err
		}
		gid := c.GID
		if dir.Mode&syscall.S_ISGID != 0 {
			gid = KeepID
		}
		if err := a.Chown(c.UID, gid); err != nil {
			return err
		}
	}
	if st.Mode&modeType == syscall.S_IFLNK {
		return nil
	}
	if mode &= 0o7777; inherits {
		mode |= syscall.S_ISGID
	}
	if st.Mode&0o7777 == mode && st.UID == c.UID {
		return nil
	}
	return a.Chmod(mode)
}

func (r *rooted) mknod(c *Context, name string, mode, rdev uint32) error {
	return r.do(name, func(a sys.At) error {
		if err := a.Mknod(mode, rdev); err != nil {
			return err
		}
		return r.made(c, a, mode)
	})
}

func (r *rooted) mkdir(c *Context, name string, mode uint32) error {
	return r.do(name, func(a sys.At) error {
		if err := a.Mkdir(mode); err != nil {
			return err
		}
		return r.made(c, a, mode)
	})
}

func (r *rooted) unlink(_ *Context, name string) error {
	return r.do(name, func(a sys.At) error { return a.Unlink(false) })
}

func (r *rooted) rmdir(_ *Context, name string) error {
	return r.do(name, func(a sys.At) error { return a.Unlink(true) })
}

func (r *rooted) symlink(c *Context, target, name string) error {
	return r.do(name, func(a sys.At) error {
		if err := a.Symlink(target); err != nil {
			return err
		}
		return r.made(c, a, 0)
	})
}

func (r *rooted) rename(_ *Context, from, to string, flags uint32) error {
	return r.do2(from, to, func(a, b sys.At) error { return a.Rename(b, flags) })
}

func (r *rooted) link(_ *Context, from, to string) error {
	return r.do2(from, to, func(a, b sys.At) error { return a.Link(b) })
}

func (r *rooted) chmod(_ *Context, name string, mode uint32, fi *FileInfo) error {
	return r.on(name, fi, func(a sys.At) error { return a.Chmod(mode & 0o7777) })
}

func (r *rooted) chown(_ *Context, name string, uid, gid uint32, fi *FileInfo) error {
	return r.on(name, fi, func(a sys.At) error { return a.Chown(uid, gid) })
}

func (r *rooted) truncate(_ *Context, name string, size int64, fi *FileInfo) error {
	if fi != nil {
		return r.file(fi, func(f *os.File) error { return f.Truncate(size) })
	}
	return r.do(name, func(a sys.At) error { return a.Truncate(size) })
}

func (r *rooted) utimens(_ *Context, name string, atime, mtime Time, fi *FileInfo) error {
	return r.on(name, fi, func(a sys.At) error { return a.Utimens(atime.Sec, atime.Nsec, mtime.Sec, mtime.Nsec) })
}

// unpassed are the flags of open(2) that are the kernel's or this package's business.
const unpassed = syscall.O_CREAT | syscall.O_EXCL | syscall.O_NOCTTY | syscall.O_CLOEXEC

func (r *rooted) open(_ *Context, name string, fi *FileInfo) error {
	return r.do(name, func(a sys.At) error {
		f, err := a.Open(int(fi.Flags)&^unpassed, 0)
		if err == nil {
			fi.FH = r.files.Put(f)
		}
		return err
	})
}

func (r *rooted) create(c *Context, name string, mode uint32, fi *FileInfo) error {
	return r.do(name, func(a sys.At) error {
		flags := int(fi.Flags)&^unpassed | syscall.O_CREAT
		f, err := a.Open(flags|syscall.O_EXCL, mode&0o7777)
		switch {
		case err == nil:
			if err = r.made(c, a, mode); err != nil {
				f.Close()
				return err
			}
		case err == syscall.EEXIST && fi.Flags&syscall.O_EXCL == 0: // it came while the kernel saw none
			if f, err = a.Open(flags, mode&0o7777); err != nil {
				return err
			}
		default:
			return err
		}
		fi.FH = r.files.Put(f)
		return nil
	})
}

func (r *rooted) readBuf(_ *Context, _ string, size int, off int64, fi *FileInfo) (buf *BufVec, err error) {
	err = r.file(fi, func(f *os.File) error {
		buf = lowlevel.FileVec(int(f.Fd()), size, off)
		return nil
	})
	return buf, err
}

func (r *rooted) writeBuf(_ *Context, _ string, buf *BufVec, off int64, fi *FileInfo) (n int, err error) {
	err = r.file(fi, func(f *os.File) error {
		n, err = lowlevel.Copy(lowlevel.FileVec(int(f.Fd()), buf.Size(), off), buf, 0)
		return err
	})
	return n, err
}

// flush closes a copy of the descriptor, which tells what close(2) would.
func (r *rooted) flush(_ *Context, _ string, fi *FileInfo) error {
	return r.file(fi, func(f *os.File) error {
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			return err
		}
		return syscall.Close(fd)
	})
}

func (r *rooted) release(_ *Context, _ string, fi *FileInfo) error {
	f, ok := r.files.Take(fi.FH)
	if !ok {
		return syscall.EBADF
	}
	return f.Close()
}

func (r *rooted) fsync(_ *Context, _ string, datasync bool, fi *FileInfo) error {
	return r.file(fi, func(f *os.File) error {
		if datasync {
			return sys.Fdatasync(int(f.Fd()))
		}
		return f.Sync()
	})
}

func (r *rooted) fallocate(_ *Context, _ string, mode uint32, off, length int64, fi *FileInfo) error {
	return r.file(fi, func(f *os.File) error { return sys.Fallocate(int(f.Fd()), mode, off, length) })
}

func (r *rooted) copyFileRange(_ *Context, _ string, fi *FileInfo, off int64, _ string, fo *FileInfo, offo int64, n int, flags int) (copied int, err error) {
	err = r.file(fi, func(from *os.File) error {
		return r.file(fo, func(to *os.File) error {
			copied, err = sys.CopyFileRange(int(from.Fd()), off, int(to.Fd()), offo, n, flags)
			return err
		})
	})
	return copied, err
}

func (r *rooted) lseek(_ *Context, _ string, off int64, whence int, fi *FileInfo) (pos int64, err error) {
	err = r.file(fi, func(f *os.File) error { pos, err = sys.Seek(int(f.Fd()), off, whence); return err })
	return pos, err
}

func (r *rooted) setxattr(_ *Context, name, attr string, value []byte, flags int) error {
	return r.do(name, func(a sys.At) error { return a.Setxattr(attr, value, flags) })
}

func (r *rooted) getxattr(_ *Context, name, attr string, dst []byte) (n int, err error) {
	err = r.do(name, func(a sys.At) error { n, err = a.Getxattr(attr, dst); return err })
	return n, err
}

func (r *rooted) listxattr(_ *Context, name string, dst []byte) (n int, err error) {
	err = r.do(name, func(a sys.At) error { n, err = a.Listxattr(dst); return err })
	return n, err
}

func (r *rooted) removexattr(_ *Context, name, attr string) error {
	return r.do(name, func(a sys.At) error { return a.Removexattr(attr) })
}

func (r *rooted) opendir(_ *Context, name string, fi *FileInfo) error {
	return r.do(name, func(a sys.At) error {
		f, err := a.Open(syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err == nil {
			fi.FH = r.files.Put(f)
		}
		return err
	})
}

// readdir lists all of the directory, so that names that come and go meanwhile disturb no offsets.
func (r *rooted) readdir(_ *Context, _ string, fill Filler, _ uint64, fi *FileInfo, plus bool) error {
	return r.file(fi, func(f *os.File) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		var st Stat
		if err := lstat(sys.At{Dir: f}, &st); err != nil {
			return err
		}
		fill.Add(".", &st, 0)
		fill.Add("..", &Stat{Mode: syscall.S_IFDIR, Ino: st.Ino}, 0)
		for {
			list, err := sys.ReadDir(f)
			if err != nil || len(list) == 0 {
				return err
			}
			for _, e := range list {
				st := Stat{Ino: e.Ino, Mode: uint32(e.Type) << 12}
				add := fill.Add
				if plus && lstat(sys.At{Dir: f, Name: e.Name}, &st) == nil {
					add = fill.AddPlus
				}
				if !add(e.Name, &st, 0) {
					return nil
				}
			}
		}
	})
}
