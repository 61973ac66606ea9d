//go:build linux

package fusetest_test

import (
	"bytes"
	"math"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// noData is ENODATA, what getxattr(2) says of an attribute that is not there.
const noData = syscall.ENODATA

func (t *tree) operations() lowlevel.Operations {
	return lowlevel.Operations{
		Lookup: func(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				if dir.kids == nil {
					return syscall.ENOTDIR
				}
				n := dir.kids[name.String()]
				if n == nil {
					return syscall.ENOENT
				}
				r.ReplyEntry(t.entry(n))
				return 0
			})
		},
		Forget: func(r lowlevel.NoneReq, ino lowlevel.NodeID, n uint64) {
			t.forget([]lowlevel.Forget{{NodeID: ino, N: n}})
			r.ReplyNone()
		},
		ForgetMulti: func(r lowlevel.NoneReq, f []lowlevel.Forget) {
			t.forget(f)
			r.ReplyNone()
		},
		Getattr: func(r lowlevel.AttrReq, ino lowlevel.NodeID, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				st := n.stat()
				r.ReplyAttr(&st, 0)
				return 0
			})
		},
		Setattr: func(r lowlevel.AttrReq, ino lowlevel.NodeID, a *lowlevel.SetAttr, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				t.setattr(n, a)
				st := n.stat()
				r.ReplyAttr(&st, 0)
				return 0
			})
		},
		Readlink: func(r lowlevel.LinkReq, ino lowlevel.NodeID) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				r.ReplyReadlink(n.target)
				return 0
			})
		},
		Mknod: func(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name, mode, rdev uint32) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				n, e := t.add(dir, name, mode, r.Caller())
				if e == 0 {
					n.st.Rdev = rdev
					r.ReplyEntry(t.entry(n))
				}
				return e
			})
		},
		Mkdir: func(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name, mode uint32) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				n, e := t.add(dir, name, syscall.S_IFDIR|mode, r.Caller())
				if e == 0 {
					r.ReplyEntry(t.entry(n))
				}
				return e
			})
		},
		Symlink: func(r lowlevel.EntryReq, target lowlevel.Name, parent lowlevel.NodeID, name lowlevel.Name) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				n, e := t.add(dir, name, syscall.S_IFLNK|0o777, r.Caller())
				if e == 0 {
					n.target = target.String()
					r.ReplyEntry(t.entry(n))
				}
				return e
			})
		},
		Link: func(r lowlevel.EntryReq, ino, newparent lowlevel.NodeID, newname lowlevel.Name) {
			t.with(r, newparent, func(dir *inode) syscall.Errno {
				n := t.nodes[ino]
				switch {
				case n == nil:
					return syscall.ENOENT
				case dir.kids[newname.String()] != nil:
					return syscall.EEXIST
				}
				t.attach(dir, newname.String(), n)
				n.st.Nlink++
				n.st.Ctime = t.now()
				r.ReplyEntry(t.entry(n))
				return 0
			})
		},
		Unlink: func(r lowlevel.ErrReq, parent lowlevel.NodeID, name lowlevel.Name) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				n := dir.kids[name.String()]
				if n == nil {
					return syscall.ENOENT
				}
				if n.kids != nil {
					return syscall.EISDIR
				}
				t.detach(dir, name.String())
				t.drop(n)
				r.ReplyOK()
				return 0
			})
		},
		Rmdir: func(r lowlevel.ErrReq, parent lowlevel.NodeID, name lowlevel.Name) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				n := dir.kids[name.String()]
				switch {
				case n == nil:
					return syscall.ENOENT
				case n.kids == nil:
					return syscall.ENOTDIR
				case len(n.kids) > 0:
					return syscall.ENOTEMPTY
				}
				t.detach(dir, name.String())
				t.drop(n)
				r.ReplyOK()
				return 0
			})
		},
		Rename: func(r lowlevel.ErrReq, parent lowlevel.NodeID, name lowlevel.Name, newparent lowlevel.NodeID, newname lowlevel.Name, flags uint32) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				to := t.nodes[newparent]
				if to == nil {
					return syscall.ENOENT
				}
				e := t.rename(dir, name.String(), to, newname.String(), flags)
				if e == 0 {
					r.ReplyOK()
				}
				return e
			})
		},
		Open: func(r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				if fi.Flags&syscall.O_TRUNC != 0 {
					n.resize(0)
				}
				t.open(n, fi)
				r.ReplyOpen(fi)
				return 0
			})
		},
		Opendir: func(r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				if n.kids == nil {
					return syscall.ENOTDIR
				}
				t.open(n, fi)
				r.ReplyOpen(fi)
				return 0
			})
		},
		Create: func(r lowlevel.CreateReq, parent lowlevel.NodeID, name lowlevel.Name, mode uint32, fi *lowlevel.FileInfo) {
			t.with(r, parent, func(dir *inode) syscall.Errno {
				n := dir.kids[name.String()]
				if n != nil && fi.Flags&syscall.O_EXCL != 0 {
					return syscall.EEXIST
				}
				if n == nil {
					var e syscall.Errno
					if n, e = t.add(dir, name, mode, r.Caller()); e != 0 {
						return e
					}
				}
				if fi.Flags&syscall.O_TRUNC != 0 {
					n.resize(0)
				}
				t.open(n, fi)
				r.ReplyCreate(t.entry(n), fi)
				return 0
			})
		},
		Tmpfile: func(r lowlevel.CreateReq, parent lowlevel.NodeID, mode uint32, fi *lowlevel.FileInfo) {
			t.with(r, parent, func(*inode) syscall.Errno {
				n := t.make(mode, r.Caller().UID, r.Caller().GID)
				n.st.Nlink = 0
				t.open(n, fi)
				r.ReplyCreate(t.entry(n), fi)
				return 0
			})
		},
		Read: func(r lowlevel.DataReq, ino lowlevel.NodeID, size int, off int64, fi *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				at := min(off, int64(len(n.data)))
				room := r.Room(min(size, len(n.data)-int(at)))
				copy(room, n.data[at:])
				n.st.Atime = t.now()
				r.ReplyBuf(room)
				return 0
			})
		},
		Write: func(r lowlevel.WriteReq, ino lowlevel.NodeID, data []byte, off int64, fi *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				if end := off + int64(len(data)); end > int64(len(n.data)) {
					n.resize(uint64(end))
				}
				copy(n.data[off:], data)
				n.st.Mtime = t.now()
				n.st.Ctime = n.st.Mtime
				r.ReplyWrite(len(data))
				return 0
			})
		},
		Flush:      func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { r.ReplyOK() },
		Release:    t.release,
		Releasedir: t.release,
		Fsync:      func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ bool, _ *lowlevel.FileInfo) { r.ReplyOK() },
		Fsyncdir:   func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ bool, _ *lowlevel.FileInfo) { r.ReplyOK() },
		Readdir: func(r lowlevel.DirReq, ino lowlevel.NodeID, _ int, off uint64, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(dir *inode) syscall.Errno {
				for _, l := range t.list(dir, off) {
					st := l.n.stat()
					if !r.Add(l.name, &st, l.off) {
						break
					}
				}
				r.Reply()
				return 0
			})
		},
		Readdirplus: func(r lowlevel.PlusReq, ino lowlevel.NodeID, _ int, off uint64, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(dir *inode) syscall.Errno {
				for _, l := range t.list(dir, off) {
					if !r.Fits(len(l.name)) {
						break
					}
					e := &lowlevel.Entry{Attr: l.n.stat()}
					if l.name != "." && l.name != ".." {
						e = t.entry(l.n)
					}
					r.Add(l.name, e, l.off)
				}
				r.Reply()
				return 0
			})
		},
		Statfs: func(r lowlevel.StatfsReq, _ lowlevel.NodeID) {
			r.ReplyStatfs(&lowlevel.Statfs{Blocks: 1 << 20, Bfree: 1 << 19, Bavail: 1 << 19, Files: 1000, Ffree: 900, Bsize: 4096, Frsize: 4096, NameMax: 255})
		},
		Setxattr: func(r lowlevel.ErrReq, ino lowlevel.NodeID, name lowlevel.Name, value []byte, flags uint32) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				_, there := n.xattrs[name.String()]
				switch {
				case flags&1 != 0 && there:
					return syscall.EEXIST
				case flags&2 != 0 && !there:
					return noData
				case n.xattrs == nil:
					n.xattrs = make(map[string][]byte)
				}
				n.xattrs[name.String()] = bytes.Clone(value)
				r.ReplyOK()
				return 0
			})
		},
		Getxattr: func(r lowlevel.XattrReq, ino lowlevel.NodeID, name lowlevel.Name, size int) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				v, ok := n.xattrs[name.String()]
				if !ok {
					return noData
				}
				replyXattr(r, v, size)
				return 0
			})
		},
		Listxattr: func(r lowlevel.XattrReq, ino lowlevel.NodeID, size int) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				replyXattr(r, t.xattrNames(n), size)
				return 0
			})
		},
		Removexattr: func(r lowlevel.ErrReq, ino lowlevel.NodeID, name lowlevel.Name) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				if _, ok := n.xattrs[name.String()]; !ok {
					return noData
				}
				delete(n.xattrs, name.String())
				r.ReplyOK()
				return 0
			})
		},
		Access: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ uint32) { r.ReplyOK() },
		Getlk: func(r lowlevel.LockReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, lk *lowlevel.Flock) {
			lk.Type = syscall.F_UNLCK
			r.ReplyLock(lk)
		},
		Setlk: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, _ *lowlevel.Flock, _ bool) {
			r.ReplyOK()
		},
		Flock: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, _ int) { r.ReplyOK() },
		Bmap:  func(r lowlevel.BmapReq, _ lowlevel.NodeID, blocksize int, idx uint64) { r.ReplyBmap(idx + 100) },
		Ioctl: ioctl,
		Poll: func(r lowlevel.PollReq, _ lowlevel.NodeID, fi *lowlevel.FileInfo, ph *lowlevel.PollHandle) {
			if ph != nil {
				ph.Notify()
			}
			r.ReplyPoll(fi.PollEvents & 1)
		},
		Fallocate: func(r lowlevel.ErrReq, ino lowlevel.NodeID, mode uint32, off, length int64, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				if end := uint64(off + length); mode == 0 && end > uint64(len(n.data)) {
					n.resize(end)
				}
				r.ReplyOK()
				return 0
			})
		},
		CopyFileRange: func(r lowlevel.WriteReq, ino lowlevel.NodeID, off int64, _ *lowlevel.FileInfo, out lowlevel.NodeID, outOff int64, _ *lowlevel.FileInfo, n uint64, _ uint32) {
			t.with(r, ino, func(src *inode) syscall.Errno {
				dst := t.nodes[out]
				data := src.data[min(off, int64(len(src.data))):]
				data = data[:min(n, uint64(len(data)))]
				if end := outOff + int64(len(data)); end > int64(len(dst.data)) {
					dst.resize(uint64(end))
				}
				r.ReplyWrite(copy(dst.data[outOff:], data))
				return 0
			})
		},
		Lseek: func(r lowlevel.SeekReq, ino lowlevel.NodeID, off int64, whence int, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				switch {
				case off >= int64(len(n.data)):
					return syscall.ENXIO
				case whence == 4: // SEEK_HOLE
					r.ReplyLseek(int64(len(n.data)))
				default:
					r.ReplyLseek(off)
				}
				return 0
			})
		},
		Statx: func(r lowlevel.StatxReq, ino lowlevel.NodeID, _, mask uint32, _ *lowlevel.FileInfo) {
			t.with(r, ino, func(n *inode) syscall.Errno {
				r.ReplyStatx(&lowlevel.Statx{Stat: n.stat(), Mask: mask, Btime: n.st.Ctime}, 0)
				return 0
			})
		},
		Syncfs: func(r lowlevel.ErrReq, _ lowlevel.NodeID) { r.ReplyOK() },
	}
}

// The ioctls of the tree: one that turns its argument round, one that wants the caller's memory.
const (
	ioctlReverse = 0xc0086601
	ioctlFetch   = 0x6602
)

func ioctl(r lowlevel.IoctlReq, _ lowlevel.NodeID, cmd uint32, arg uint64, _ *lowlevel.FileInfo, flags uint32, in []byte, outSize int) {
	switch {
	case cmd == ioctlReverse:
		out := bytes.Clone(in)
		for i := range out {
			out[i] = in[len(in)-1-i]
		}
		r.ReplyIoctl(7, out)
	case cmd == ioctlFetch && wire.IoctlFlags(flags)&wire.IoctlUnrestricted == 0:
		r.ReplyErr(syscall.EPERM)
	case cmd == ioctlFetch && len(in) == 0:
		r.ReplyIoctlRetry([]lowlevel.IOVec{{Base: arg, Len: 4}}, []lowlevel.IOVec{{Base: arg + 16, Len: 2}, {Base: arg + 32, Len: 2}})
	case cmd == ioctlFetch:
		r.ReplyIoctl(int32(outSize), in)
	default:
		r.ReplyIoctl(-int32(syscall.ENOTTY))
	}
}

const lockEOF = math.MaxInt64
