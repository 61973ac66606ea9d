//go:build linux

package hloracle

import (
	"math"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/highlevel"
)

// do is the operation itself; whim decides what a file system is free to do.
func (t *tree) do(c *call, whim uint64) (a answer) {
	switch c.op {
	case opInit, opDestroy:
	case opMknod:
		n := t.inode(uint32(c.arg[0]))
		n.uid, n.gid, n.rdev = c.uid, c.gid, uint32(c.arg[1])
		a.err = t.put(c.path, n)
	case opMkdir:
		a.err = t.mkdir(c.path, uint32(c.arg[0]))
	case opSymlink:
		n := t.inode(syscall.S_IFLNK | 0o777)
		n.data = []byte(c.path)
		a.err = t.put(c.path2, n)
	case opUnlink, opRmdir:
		a.err = t.remove(c.path, c.op == opRmdir)
	case opRename:
		a.err = t.rename(c.path, c.path2, uint32(c.arg[0]))
	case opLink:
		n, err := t.walk(c.path)
		switch {
		case err != 0:
		case n.is(syscall.S_IFDIR):
			err = syscall.EPERM
		default:
			if err = t.put(c.path2, n); err == 0 {
				n.nlink++
			}
		}
		a.err = err
	case opOpen, opCreate, opOpendir:
		t.open(c, whim, &a)
	case opRelease, opReleasedir:
		delete(t.files, c.fi.FH)
	case opStatfs:
		a.value = [8]uint64{1000, 500, 400, 300, 200, 4096, 255, 1024}
	case opFlock, opFlush, opFsync, opFsyncdir:
	case opPoll:
		a.value = [8]uint64{whim & 0x1f, whim >> 8 & 1}
	default:
		n, err := t.at(c)
		if err != 0 {
			a.err = err
			return a
		}
		t.onInode(c, n, whim, &a)
	}
	return a
}

// onInode is do for what is about one inode.
func (t *tree) onInode(c *call, n *inode, whim uint64, a *answer) {
	switch c.op {
	case opGetattr:
		a.attr = t.stat(n)
	case opReadlink:
		if a.data = n.data; !n.is(syscall.S_IFLNK) {
			a.err = syscall.EINVAL
		}
	case opChmod:
		n.mode = n.mode&typeOf | uint32(c.arg[0])&0o7777
		n.ctime = t.now()
	case opChown:
		if uint32(c.arg[0]) != highlevel.KeepID {
			n.uid = uint32(c.arg[0])
		}
		if uint32(c.arg[1]) != highlevel.KeepID {
			n.gid = uint32(c.arg[1])
		}
	case opUtimens:
		set := func(to *highlevel.Time, sec, nsec uint64) {
			switch nsec {
			case highlevel.UtimeOmit:
			case highlevel.UtimeNow:
				*to = t.now()
			default:
				*to = highlevel.Time{Sec: int64(sec), Nsec: uint32(nsec)}
			}
		}
		set(&n.atime, c.arg[0], c.arg[1])
		set(&n.mtime, c.arg[2], c.arg[3])
	case opTruncate:
		a.err = t.resize(n, int64(c.arg[0]))
	case opAccess:
		if whim%4 == 0 {
			a.err = syscall.EACCES
		}
	case opRead, opReadBuf:
		off := min(c.arg[1], uint64(len(n.data)))
		a.data = n.data[off:min(off+min(c.arg[0], maxFile), uint64(len(n.data)))]
		a.n = int64(len(a.data))
		a.value[0] = 1 + whim%3
	case opWrite, opWriteBuf:
		t.write(n, int64(c.arg[0]), c.data, a)
	case opFallocate:
		if int64(c.arg[1]) < 0 || int64(c.arg[2]) <= 0 || c.arg[1] > maxFile || c.arg[2] > maxFile {
			a.err = syscall.EINVAL
		} else if end := int64(c.arg[1] + c.arg[2]); end > int64(len(n.data)) {
			a.err = t.resize(n, end)
		}
	case opCopyFileRange:
		to := t.files[c.fi2.FH]
		if to == nil {
			a.err = syscall.EBADF
			return
		}
		off := min(c.arg[0], uint64(len(n.data)))
		t.write(to, int64(c.arg[1]), slices.Clone(n.data[off:min(off+min(c.arg[2], maxFile), uint64(len(n.data)))]), a)
	case opLseek:
		if a.n = int64(c.arg[0]); a.n > int64(len(n.data)) || a.n < 0 {
			a.err = syscall.ENXIO
		}
	case opBmap:
		a.value[0] = c.arg[1] + 7
	case opIoctl:
		t.ioctl(c, n, whim, a)
	case opLock:
		t.lock(c, n, a)
	case opReaddir:
		t.list(c, n, a)
	default:
		t.xattr(c, n, a)
	}
}

func (t *tree) remove(path string, isDir bool) syscall.Errno {
	dir, name, err := t.parent(path)
	if err != 0 {
		return err
	}
	n := dir.child(name)
	switch {
	case n == nil:
		return syscall.ENOENT
	case isDir && !n.is(syscall.S_IFDIR):
		return syscall.ENOTDIR
	case !isDir && n.is(syscall.S_IFDIR):
		return syscall.EISDIR
	case len(n.entries) > 0:
		return syscall.ENOTEMPTY
	}
	n.nlink--
	t.drop(dir, name)
	return 0
}

func (t *tree) rename(from, to string, flags uint32) syscall.Errno {
	a, aname, err := t.parent(from)
	if err != 0 {
		return err
	}
	b, bname, err := t.parent(to)
	if err != 0 {
		return err
	}
	n, over := a.child(aname), b.child(bname)
	switch {
	case flags&^(highlevel.RenameNoreplace|highlevel.RenameExchange) != 0:
		return syscall.EINVAL
	case n == nil:
		return syscall.ENOENT
	case strings.HasPrefix(to+"/", from+"/") && from != to:
		return syscall.EINVAL
	case flags&highlevel.RenameExchange != 0:
		if over == nil {
			return syscall.ENOENT
		}
		if strings.HasPrefix(from+"/", to+"/") {
			return syscall.EINVAL
		}
		for i := range a.entries {
			if a.entries[i].name == aname {
				a.entries[i].node = over
			}
		}
		for i := range b.entries {
			if b.entries[i].name == bname {
				b.entries[i].node = n
			}
		}
		return 0
	case over != nil && flags&highlevel.RenameNoreplace != 0:
		return syscall.EEXIST
	case over == n:
		return 0
	case over != nil:
		if err := t.remove(to, n.is(syscall.S_IFDIR)); err != 0 {
			return err
		}
	}
	t.drop(a, aname)
	return t.put(to, n)
}

func (t *tree) open(c *call, whim uint64, a *answer) {
	var n *inode
	switch c.op {
	case opCreate:
		mode := syscall.S_IFREG | uint32(c.arg[0])&0o7777
		if t.cfg.OddModes && whim>>10%3 == 0 {
			mode = syscall.S_IFIFO | 0o644
		}
		n = t.inode(mode)
		if a.err = t.put(c.path, n); a.err == syscall.EEXIST && c.fi.Flags&syscall.O_EXCL == 0 {
			n, a.err = t.walk(c.path)
		}
	default:
		if n, a.err = t.walk(c.path); a.err == 0 && c.op == opOpendir && !n.is(syscall.S_IFDIR) {
			a.err = syscall.ENOTDIR
		}
	}
	if a.err != 0 {
		return
	}
	t.lastFH++
	a.fh = t.lastFH
	t.files[a.fh] = n
	if whim&3 == 0 {
		a.bits = uint32(whim>>2) & (bDirectIO | bKeepCache | bNonSeekable | bCacheReaddir | bNoFlush)
	}
}

func (t *tree) resize(n *inode, size int64) syscall.Errno {
	switch {
	case n.is(syscall.S_IFDIR):
		return syscall.EISDIR
	case !n.is(syscall.S_IFREG):
		return syscall.EINVAL
	case size < 0 || size > maxFile:
		return syscall.EFBIG
	}
	for int64(len(n.data)) < size {
		n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
	}
	n.data = n.data[:size]
	n.mtime = t.now()
	return 0
}

func (t *tree) write(n *inode, off int64, data []byte, a *answer) {
	end := off + int64(len(data))
	if off < 0 || end < 0 || end > maxFile {
		a.err = syscall.EFBIG
		return
	}
	if end > int64(len(n.data)) {
		if a.err = t.resize(n, end); a.err != 0 {
			return
		}
	}
	copy(n.data[off:], data)
	n.mtime = t.now()
	a.n = int64(len(data))
}

// ioctl gives back what it got, changed.
func (t *tree) ioctl(c *call, n *inode, whim uint64, a *answer) {
	if c.arg[0]>>31 != 0 {
		a.data = make([]byte, c.arg[0]>>16&0x3fff)
		copy(a.data, c.data)
		for i := range a.data {
			a.data[i] ^= byte(n.ino) + byte(i)
		}
	}
	a.n = int64(whim & 0xff)
}

func (t *tree) lock(c *call, n *inode, a *answer) {
	want := lock{owner: c.fi.Owner, start: int64(c.arg[2]), typ: int16(c.arg[1]), pid: uint32(c.arg[4])}
	want.end = math.MaxInt64
	if c.arg[3] != 0 {
		want.end = want.start + int64(c.arg[3]) - 1
	}
	var held *lock
	for i := range n.locks {
		l := &n.locks[i]
		if l.owner != want.owner && l.start <= want.end && want.start <= l.end && (l.typ == syscall.F_WRLCK || want.typ == syscall.F_WRLCK) {
			held = l
			break
		}
	}
	outside := lock{start: 5000, end: 5999, typ: syscall.F_WRLCK, pid: 77} // somebody else's, whom the mount does not know
	if held == nil && n.ino%3 == 0 && want.typ != syscall.F_UNLCK && want.start <= outside.end && outside.start <= want.end {
		held = &outside
	}
	switch {
	case c.arg[0] == syscall.F_GETLK:
		if held == nil {
			a.value[0] = syscall.F_UNLCK
			return
		}
		a.value = [8]uint64{uint64(held.typ), uint64(held.start), uint64(held.end - held.start + 1), uint64(held.pid)}
		if held.end == math.MaxInt64 {
			a.value[2] = 0
		}
	case held != nil && want.typ != syscall.F_UNLCK:
		a.err = syscall.EAGAIN
	default:
		old := n.locks
		n.locks = nil
		for _, l := range old {
			if l.owner != want.owner || l.end < want.start || want.end < l.start {
				n.locks = append(n.locks, l)
				continue
			}
			if l.start < want.start {
				left := l
				left.end = want.start - 1
				n.locks = append(n.locks, left)
			}
			if l.end > want.end {
				l.start = want.end + 1
				n.locks = append(n.locks, l)
			}
		}
		if want.typ != syscall.F_UNLCK {
			n.locks = append(n.locks, want)
		}
	}
}

// list is readdir in the session's way.
func (t *tree) list(c *call, n *inode, a *answer) {
	if !n.is(syscall.S_IFDIR) {
		a.err = syscall.ENOTDIR
		return
	}
	how := t.cfg.Listing
	if how == either {
		how = listing(c.fi.FH % 2)
	}
	all := append([]dirent{{".", n, 1}, {"..", n, 2}}, n.entries...)
	for i, e := range all {
		if how != whole && e.off <= c.arg[0] {
			continue
		}
		out := entry{name: e.name, off: e.off}
		if how == whole || how == confused && i > 3 && c.arg[0] == 0 {
			out.off = 0
		}
		st := t.stat(e.node)
		switch hash(e.name) % 8 {
		case 0:
		case 1, 2:
			out.st = &st
		default:
			out.st, out.plus = &st, how != whole || !t.cfg.autoCache()
		}
		a.entries = append(a.entries, out)
	}
	t.given = a.entries
}

func (t *tree) xattr(c *call, n *inode, a *answer) {
	i := slices.IndexFunc(n.xattrs, func(x xattr) bool { return x.name == c.name })
	var out []byte
	switch c.op {
	case opSetxattr:
		switch {
		case i < 0 && c.arg[0] == 2:
			a.err = syscall.ENODATA
		case i >= 0 && c.arg[0] == 1:
			a.err = syscall.EEXIST
		case i < 0:
			n.xattrs = append(n.xattrs, xattr{c.name, slices.Clone(c.data)})
		default:
			n.xattrs[i].value = slices.Clone(c.data)
		}
		return
	case opRemovexattr:
		if i < 0 {
			a.err = syscall.ENODATA
		} else {
			n.xattrs = slices.Delete(n.xattrs, i, i+1)
		}
		return
	case opGetxattr:
		if i < 0 {
			a.err = syscall.ENODATA
			return
		}
		out = n.xattrs[i].value
	case opListxattr:
		for _, x := range n.xattrs {
			out = append(out, cstring(x.name)...)
		}
	}
	switch {
	case c.arg[0] == 0:
		a.n = int64(len(out))
	case uint64(len(out)) > c.arg[0]:
		a.err = syscall.ERANGE
	default:
		a.n, a.data = int64(len(out)), out
	}
}

// behind changes the tree as somebody without the mount would.
func (t *tree) behind(how uint64, path, path2 string) {
	switch how % 5 {
	case 0:
		t.remove(path, false)
	case 1:
		t.put(path, t.inode(syscall.S_IFREG|0o644))
	case 2:
		if n, err := t.walk(path); err == 0 && n.is(syscall.S_IFREG) {
			t.write(n, int64(how>>8%100), []byte("from outside"), &answer{})
		}
	case 3:
		t.rename(path, path2, 0)
	case 4:
		t.mkdir(path, 0o711)
	}
}
