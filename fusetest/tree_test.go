//go:build linux

package fusetest_test

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// tree is a file system in memory, with all that the tests of this package need.
type tree struct {
	mu     sync.Mutex
	nodes  map[lowlevel.NodeID]*inode
	next   lowlevel.NodeID
	fhs    map[uint64]*inode
	nextFH uint64
	clock  int64
	ops    lowlevel.Operations
}

type inode struct {
	id      lowlevel.NodeID
	st      lowlevel.Stat
	data    []byte
	kids    map[string]*inode
	offs    map[string]uint64 // directory cookies
	nextOff uint64
	target  string
	xattrs  map[string][]byte
	parent  *inode
	lookups uint64
	opens   int
}

func newTree() *tree {
	t := &tree{nodes: make(map[lowlevel.NodeID]*inode), fhs: make(map[uint64]*inode), clock: 1_700_000_000}
	root := t.make(syscall.S_IFDIR|0o755, 0, 0)
	root.st.Nlink, root.lookups = 2, 1
	t.ops = t.operations()
	return t
}

func (t *tree) now() lowlevel.Time { return lowlevel.TimeOf(time.Now()) }

func (t *tree) make(mode, uid, gid uint32) *inode {
	t.next++
	now := t.now()
	n := &inode{id: t.next, st: lowlevel.Stat{Ino: uint64(t.next), Mode: mode, Nlink: 1, UID: uid, GID: gid, Blksize: 4096, Atime: now, Mtime: now, Ctime: now}}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		n.kids, n.offs, n.st.Nlink = make(map[string]*inode), make(map[string]uint64), 2
	}
	t.nodes[n.id] = n
	return n
}

// attach puts n into dir.
func (t *tree) attach(dir *inode, name string, n *inode) {
	dir.kids[name] = n
	dir.nextOff++
	dir.offs[name] = dir.nextOff + 2 // after "." and ".."
	dir.st.Mtime = t.now()
	dir.st.Ctime = dir.st.Mtime
	if n.kids != nil {
		n.parent = dir
		dir.st.Nlink++
	}
}

func (t *tree) detach(dir *inode, name string) {
	n := dir.kids[name]
	delete(dir.kids, name)
	delete(dir.offs, name)
	dir.st.Mtime = t.now()
	dir.st.Ctime = dir.st.Mtime
	if n.kids != nil {
		dir.st.Nlink--
	}
}

// drop takes a link off n.
func (t *tree) drop(n *inode) {
	n.st.Ctime = t.now()
	if n.kids != nil {
		n.st.Nlink = 0
	} else {
		n.st.Nlink--
	}
	t.reap(n)
}

// reap forgets an inode that nobody can reach.
func (t *tree) reap(n *inode) {
	if n.st.Nlink == 0 && n.lookups == 0 && n.opens == 0 {
		delete(t.nodes, n.id)
	}
}

// entry is the answer for n, whose lookup count it raises.
func (t *tree) entry(n *inode) *lowlevel.Entry {
	n.lookups++
	return &lowlevel.Entry{NodeID: n.id, Generation: 1, Attr: n.stat()}
}

func (n *inode) stat() lowlevel.Stat {
	st := n.st
	st.Size = uint64(max(len(n.data), len(n.target)))
	st.Blocks = (st.Size + 511) / 512
	return st
}

func (n *inode) resize(size uint64) {
	if size <= uint64(len(n.data)) {
		n.data = n.data[:size]
		return
	}
	n.data = append(n.data, make([]byte, size-uint64(len(n.data)))...)
}

func (t *tree) open(n *inode, fi *lowlevel.FileInfo) {
	t.nextFH++
	n.opens++
	t.fhs[t.nextFH] = n
	fi.FH = t.nextFH
}

func (t *tree) release(r lowlevel.ErrReq, _ lowlevel.NodeID, fi *lowlevel.FileInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.fhs[fi.FH]
	if n == nil {
		r.ReplyErr(syscall.EBADF)
		return
	}
	delete(t.fhs, fi.FH)
	n.opens--
	t.reap(n)
	r.ReplyOK()
}

func (t *tree) forget(list []lowlevel.Forget) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range list {
		if n := t.nodes[f.NodeID]; n != nil {
			n.lookups -= min(n.lookups, f.N)
			t.reap(n)
		}
	}
}

// lookups is how many lookups the tree counts, without the root's.
func (t *tree) lookups() (sum uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, n := range t.nodes {
		if id != lowlevel.RootID {
			sum += n.lookups
		}
	}
	return sum
}

// with calls f with the inode under the lock.
func (t *tree) with(r interface{ ReplyErr(syscall.Errno) error }, id lowlevel.NodeID, f func(*inode) syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	if e := f(n); e != 0 {
		r.ReplyErr(e)
	}
}

// add makes a new inode in a directory.
func (t *tree) add(dir *inode, name lowlevel.Name, mode uint32, c lowlevel.Caller) (*inode, syscall.Errno) {
	if dir.kids == nil {
		return nil, syscall.ENOTDIR
	}
	if dir.kids[name.String()] != nil {
		return nil, syscall.EEXIST
	}
	if name.Len() > 255 {
		return nil, syscall.ENAMETOOLONG
	}
	n := t.make(mode, c.UID, c.GID)
	t.attach(dir, name.String(), n)
	return n, 0
}

type listed struct {
	name string
	n    *inode
	off  uint64
}

// list is a directory from a cookie on.
func (t *tree) list(dir *inode, off uint64) []listed {
	parent := cmp.Or(dir.parent, dir)
	all := []listed{{".", dir, 1}, {"..", parent, 2}}
	for name, n := range dir.kids {
		all = append(all, listed{name, n, dir.offs[name]})
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(a.off, b.off) })
	i, _ := slices.BinarySearchFunc(all, off+1, func(l listed, off uint64) int { return cmp.Compare(l.off, off) })
	return all[i:]
}

func (t *tree) rename(n *inode, name string, to *inode, newname string, flags uint32) syscall.Errno {
	src, dst := n.kids[name], to.kids[newname]
	switch {
	case flags&^3 != 0:
		return syscall.EINVAL
	case src == nil:
		return syscall.ENOENT
	case flags&1 != 0 && dst != nil:
		return syscall.EEXIST
	case flags&2 != 0 && dst == nil:
		return syscall.ENOENT
	case src == dst:
		return 0
	}
	if flags&2 != 0 {
		t.detach(n, name)
		t.detach(to, newname)
		t.attach(n, name, dst)
		t.attach(to, newname, src)
		return 0
	}
	if dst != nil {
		switch {
		case dst.kids != nil && src.kids == nil:
			return syscall.EISDIR
		case dst.kids == nil && src.kids != nil:
			return syscall.ENOTDIR
		case len(dst.kids) > 0:
			return syscall.ENOTEMPTY
		}
		t.detach(to, newname)
		t.drop(dst)
	}
	t.detach(n, name)
	t.attach(to, newname, src)
	src.st.Ctime = t.now()
	return 0
}

func (t *tree) setattr(n *inode, a *lowlevel.SetAttr) {
	set := func(v wire.SetattrValid, f func()) {
		if a.Has(v) {
			f()
		}
	}
	now := t.now()
	n.st.Ctime = now
	set(wire.FattrMode, func() { n.st.Mode = n.st.Mode&syscall.S_IFMT | a.Mode&^syscall.S_IFMT })
	set(wire.FattrUID, func() { n.st.UID = a.UID })
	set(wire.FattrGID, func() { n.st.GID = a.GID })
	set(wire.FattrSize, func() { n.resize(a.Size); n.st.Mtime = now })
	set(wire.FattrAtime, func() { n.st.Atime = a.Atime })
	set(wire.FattrMtime, func() { n.st.Mtime = a.Mtime })
	set(wire.FattrAtimeNow, func() { n.st.Atime = now })
	set(wire.FattrMtimeNow, func() { n.st.Mtime = now })
}

func (t *tree) xattrNames(n *inode) (b []byte) {
	for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
		b = append(append(b, name...), 0)
	}
	return b
}

func replyXattr(r lowlevel.XattrReq, value []byte, size int) {
	switch {
	case size == 0:
		r.ReplyXattr(len(value))
	case size < len(value):
		r.ReplyErr(syscall.ERANGE)
	default:
		r.ReplyBuf(value)
	}
}
