//go:build linux

package main

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

const (
	nameMax = 255

	renameNoReplace = 1 << 0 // renameat2(2)
	renameExchange  = 1 << 1
)

// tree is what holds for all inodes.
type tree struct {
	mu      sync.RWMutex // names: parent and children of every inode, and who has links left
	lastIno atomic.Uint64
	inodes  atomic.Int64 // with a name
	chunks  atomic.Int64 // of contents
}

// inode is a file of any type. Who holds the tree's lock may take an inode's, not the other way round.
type inode struct {
	parent   *inode            // of a directory; under tree.mu
	children map[string]*inode // of a directory; under tree.mu
	ino      uint64            // this and the next two never change
	format   uint32            // the type's bits of the mode
	target   string            // of a symlink

	mu     sync.RWMutex // for what follows
	attr   ll.Stat
	chunks map[int64]*chunk
}

func (t *tree) newInode(mode uint32, by ll.Caller) *inode {
	now := ll.TimeOf(time.Now())
	in := &inode{ino: t.lastIno.Add(1), format: mode & syscall.S_IFMT}
	in.attr = ll.Stat{
		Ino: in.ino, Mode: mode, UID: by.UID, GID: by.GID, Blksize: 4096, Atime: now, Mtime: now, Ctime: now,
	}
	if in.isDir() {
		in.children = map[string]*inode{}
	}
	t.inodes.Add(1)
	return in
}

func (in *inode) isDir() bool { return in.format == syscall.S_IFDIR }

// change changes attributes, and with them the time of the last such change.
func (in *inode) change(f func(*ll.Stat)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.attr.Ctime = ll.TimeOf(time.Now())
	f(&in.attr)
}

// relink counts a link that came or went. It returns how many are left.
func (in *inode) relink(n int32) (left uint32) {
	in.change(func(st *ll.Stat) {
		st.Nlink += uint32(n)
		left = st.Nlink
	})
	return left
}

func (in *inode) stat() ll.Stat {
	in.mu.RLock()
	defer in.mu.RUnlock()
	st := in.attr
	st.Blocks = min(uint64(len(in.chunks))*(chunkSize/512), (st.Size+511)/512)
	return st
}

// touch notes that the directory in has changed. The caller has the tree's lock.
func (in *inode) touch() { in.change(func(st *ll.Stat) { st.Mtime = st.Ctime }) }

// add gives child a name in the directory in, which has none of that name. The caller has the tree's lock.
func (in *inode) add(name string, child *inode) {
	in.children[name] = child
	in.touch()
	if child.isDir() {
		child.parent = in
		in.relink(1) // its ".."
	}
}

// remove takes a name out of the directory in. The caller has the tree's lock.
func (in *inode) remove(name string) {
	if in.children[name].isDir() {
		in.relink(-1)
	}
	delete(in.children, name)
	in.touch()
}

// drop takes the last name off child, or one of several. The caller has the tree's lock.
func (t *tree) drop(child *inode) {
	n := int32(-1)
	if child.isDir() {
		n = -2 // its "." too
	}
	if child.relink(n) == 0 {
		t.inodes.Add(-1) // what is open goes on until it is forgotten
	}
}

// dir returns a directory for a new name in it. The caller has the tree's lock.
func (fs *memFS) dir(ino ll.NodeID, name string) (*inode, ll.Errno) {
	in, ok := fs.nodes.Get(ino)
	switch {
	case !ok:
		return nil, syscall.ESTALE
	case !in.isDir():
		return nil, syscall.ENOTDIR
	case len(name) > nameMax:
		return nil, syscall.ENAMETOOLONG
	case in.stat().Nlink == 0:
		return nil, syscall.ENOENT // was removed
	}
	return in, 0
}

// entry tells the kernel of an inode, which it has to forget some time.
func (fs *memFS) entry(in *inode) *ll.Entry {
	ino, _, _ := fs.nodes.Ref(in.ino, func() *inode { return in })
	return &ll.Entry{NodeID: ino, Attr: in.stat(), AttrTimeout: fs.timeout(), EntryTimeout: fs.timeout()}
}

func (fs *memFS) lookup(r ll.EntryReq, parent ll.NodeID, name ll.Name) {
	fs.tree.mu.RLock()
	defer fs.tree.mu.RUnlock()
	dir, ok := fs.nodes.Get(parent)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	child := dir.children[string(name.Bytes())]
	if child == nil {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	r.ReplyEntry(fs.entry(child))
}

func (fs *memFS) forget(r ll.NoneReq, ino ll.NodeID, n uint64) {
	if in, gone := fs.nodes.Forget(ino, n); gone && in.stat().Nlink == 0 {
		fs.tree.chunks.Add(-int64(len(in.chunks))) // the garbage collector does the rest
	}
	r.ReplyNone()
}

func (fs *memFS) getattr(r ll.AttrReq, ino ll.NodeID, _ *ll.FileInfo) {
	in, ok := fs.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	st := in.stat()
	r.ReplyAttr(&st, fs.timeout())
}

func (fs *memFS) setattr(r ll.AttrReq, ino ll.NodeID, a *ll.SetAttr, _ *ll.FileInfo) {
	in, ok := fs.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	if a.Has(wire.FattrSize) {
		if e := fs.truncate(in, a.Size); e != 0 {
			r.ReplyErr(e)
			return
		}
	}
	in.change(func(st *ll.Stat) {
		if a.Has(wire.FattrMode) {
			st.Mode = in.format | a.Mode&^syscall.S_IFMT
		}
		if a.Has(wire.FattrUID) {
			st.UID = a.UID
		}
		if a.Has(wire.FattrGID) {
			st.GID = a.GID
		}
		switch {
		case a.Has(wire.FattrAtimeNow):
			st.Atime = st.Ctime
		case a.Has(wire.FattrAtime):
			st.Atime = a.Atime
		}
		switch {
		case a.Has(wire.FattrMtimeNow):
			st.Mtime = st.Ctime
		case a.Has(wire.FattrMtime):
			st.Mtime = a.Mtime
		}
		if a.Has(wire.FattrCtime) { // with the writeback cache the kernel keeps the time
			st.Ctime = a.Ctime
		}
	})
	st := in.stat()
	r.ReplyAttr(&st, fs.timeout())
}

func (fs *memFS) readlink(r ll.LinkReq, ino ll.NodeID) {
	in, ok := fs.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	r.ReplyReadlink(in.target)
}

// make creates an inode with a name. fill completes it before it can be found.
func (fs *memFS) make(by ll.Caller, parent ll.NodeID, name ll.Name, mode uint32, fill func(*inode)) (*ll.Entry, ll.Errno) {
	fs.tree.mu.Lock()
	defer fs.tree.mu.Unlock()
	key := name.String()
	dir, e := fs.dir(parent, key)
	if e != 0 {
		return nil, e
	}
	if dir.children[key] != nil {
		return nil, syscall.EEXIST
	}
	in := fs.tree.newInode(mode, by)
	in.attr.Nlink = 1
	if in.isDir() {
		in.attr.Nlink = 2
	}
	if st := dir.stat(); st.Mode&syscall.S_ISGID != 0 {
		in.attr.GID = st.GID
		if in.isDir() {
			in.attr.Mode |= syscall.S_ISGID
		}
	}
	if fill != nil {
		fill(in)
	}
	dir.add(key, in)
	return fs.entry(in), 0
}

// reply answers with an entry or an error.
func reply(r ll.EntryReq, entry *ll.Entry, e ll.Errno) {
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	r.ReplyEntry(entry)
}

func (fs *memFS) mknod(r ll.EntryReq, parent ll.NodeID, name ll.Name, mode, rdev uint32) {
	entry, e := fs.make(r.Caller(), parent, name, mode, func(in *inode) { in.attr.Rdev = rdev })
	reply(r, entry, e)
}

func (fs *memFS) mkdir(r ll.EntryReq, parent ll.NodeID, name ll.Name, mode uint32) {
	entry, e := fs.make(r.Caller(), parent, name, syscall.S_IFDIR|mode, nil)
	reply(r, entry, e)
}

func (fs *memFS) symlink(r ll.EntryReq, target ll.Name, parent ll.NodeID, name ll.Name) {
	entry, e := fs.make(r.Caller(), parent, name, syscall.S_IFLNK|0o777, func(in *inode) {
		in.target = target.String()
		in.attr.Size = uint64(len(in.target))
	})
	reply(r, entry, e)
}

func (fs *memFS) create(r ll.CreateReq, parent ll.NodeID, name ll.Name, mode uint32, fi *ll.FileInfo) {
	entry, e := fs.make(r.Caller(), parent, name, syscall.S_IFREG|mode&^syscall.S_IFMT, nil)
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	fs.openFlags(fi)
	r.ReplyCreate(entry, fi)
}

func (fs *memFS) link(r ll.EntryReq, ino, newparent ll.NodeID, newname ll.Name) {
	fs.tree.mu.Lock()
	defer fs.tree.mu.Unlock()
	name := newname.String()
	dir, e := fs.dir(newparent, name)
	in, ok := fs.nodes.Get(ino)
	switch {
	case e != 0:
	case !ok:
		e = syscall.ESTALE
	case in.isDir():
		e = syscall.EPERM
	case dir.children[name] != nil:
		e = syscall.EEXIST
	case in.stat().Nlink == 0:
		e = syscall.ENOENT
	}
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	in.relink(1)
	dir.add(name, in)
	r.ReplyEntry(fs.entry(in))
}

func (fs *memFS) unlink(r ll.ErrReq, parent ll.NodeID, name ll.Name) {
	r.ReplyErr(fs.take(parent, name, false))
}

func (fs *memFS) rmdir(r ll.ErrReq, parent ll.NodeID, name ll.Name) {
	r.ReplyErr(fs.take(parent, name, true))
}

// take removes a name.
func (fs *memFS) take(parent ll.NodeID, name ll.Name, isDir bool) ll.Errno {
	fs.tree.mu.Lock()
	defer fs.tree.mu.Unlock()
	dir, ok := fs.nodes.Get(parent)
	if !ok {
		return syscall.ESTALE
	}
	key := name.String()
	child := dir.children[key]
	switch {
	case child == nil:
		return syscall.ENOENT
	case isDir && !child.isDir():
		return syscall.ENOTDIR
	case !isDir && child.isDir():
		return syscall.EISDIR
	case len(child.children) > 0:
		return syscall.ENOTEMPTY
	}
	dir.remove(key)
	fs.tree.drop(child)
	return 0
}

func (fs *memFS) rename(r ll.ErrReq, parent ll.NodeID, name ll.Name, newparent ll.NodeID, newname ll.Name, flags uint32) {
	r.ReplyErr(fs.move(parent, name.String(), newparent, newname.String(), flags))
}

func (fs *memFS) move(parent ll.NodeID, name string, newparent ll.NodeID, newname string, flags uint32) ll.Errno {
	if flags&^(renameNoReplace|renameExchange) != 0 {
		return syscall.EINVAL
	}
	fs.tree.mu.Lock()
	defer fs.tree.mu.Unlock()
	from, e := fs.dir(parent, name)
	if e != 0 {
		return e
	}
	to, e := fs.dir(newparent, newname)
	if e != 0 {
		return e
	}
	in, other := from.children[name], to.children[newname]
	exchange := flags&renameExchange != 0
	switch {
	case in == nil, exchange && other == nil:
		return syscall.ENOENT
	case other != nil && flags&renameNoReplace != 0:
		return syscall.EEXIST
	case in.holds(to), exchange && other.holds(from):
		return syscall.EINVAL
	case in == other: // two names of one file: both stay
		return 0
	}
	if exchange {
		from.remove(name)
		to.remove(newname)
		from.add(name, other)
		to.add(newname, in)
		other.change(func(*ll.Stat) {})
		in.change(func(*ll.Stat) {})
		return 0
	}
	if other != nil {
		switch {
		case in.isDir() && !other.isDir():
			return syscall.ENOTDIR
		case !in.isDir() && other.isDir():
			return syscall.EISDIR
		case len(other.children) > 0:
			return syscall.ENOTEMPTY
		}
		to.remove(newname)
		fs.tree.drop(other)
	}
	from.remove(name)
	to.add(newname, in)
	in.change(func(*ll.Stat) {})
	return 0
}

// holds reports whether the directory dir is in or lies below it. The caller has the tree's lock.
func (in *inode) holds(dir *inode) bool {
	for ; dir != in; dir = dir.parent {
		if dir.parent == dir {
			return false
		}
	}
	return true
}

// listing is an open directory: what was in it when the reader was at its beginning.
type listing struct {
	mu      sync.Mutex
	entries []dirent
}

type dirent struct {
	name string
	st   ll.Stat // number and type
}

func (fs *memFS) list(in *inode) []dirent {
	fs.tree.mu.RLock()
	defer fs.tree.mu.RUnlock()
	list := append(make([]dirent, 0, len(in.children)+2), dirent{".", in.stat()}, dirent{"..", in.parent.stat()})
	for name, child := range in.children {
		list = append(list, dirent{name, ll.Stat{Ino: child.ino, Mode: child.format}})
	}
	return list
}

func (fs *memFS) opendir(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	if in, ok := fs.nodes.Get(ino); !ok || !in.isDir() {
		r.ReplyErr(syscall.ENOTDIR)
		return
	}
	fi.FH = fs.dirs.Put(&listing{})
	if r.ReplyOpen(fi) != nil {
		fs.dirs.Take(fi.FH) // nobody will release it
	}
}

func (fs *memFS) readdir(r ll.DirReq, ino ll.NodeID, _ int, off uint64, fi *ll.FileInfo) {
	l, ok := fs.dirs.Get(fi.FH)
	in, known := fs.nodes.Get(ino)
	if !ok || !known {
		r.ReplyErr(syscall.EBADF)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if off == 0 { // opened just now, or rewound
		l.entries = fs.list(in)
	}
	for ; off < uint64(len(l.entries)); off++ {
		if !r.Add(l.entries[off].name, &l.entries[off].st, off+1) {
			break
		}
	}
	r.Reply()
}

func (fs *memFS) releasedir(r ll.ErrReq, _ ll.NodeID, fi *ll.FileInfo) {
	fs.dirs.Take(fi.FH)
	r.ReplyOK()
}
