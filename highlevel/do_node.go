//go:build linux

package highlevel

import (
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// entry makes the answer about a child whose attributes are in e.Attr, and counts a lookup.
func (f *FS) entry(parent *node, name []byte, e *lowlevel.Entry) {
	f.mu.Lock()
	f.entryOf(f.lookedUp(parent, sys.String(name)), e)
	f.mu.Unlock()
}

// entryOf fills in e for a node. The caller holds f.mu.
func (f *FS) entryOf(n *node, e *lowlevel.Entry) {
	if f.cfg.AutoCache {
		f.observe(n, &e.Attr)
	}
	e.NodeID, e.Generation = n.nodeID(), uint64(n.gen)
	e.EntryTimeout, e.AttrTimeout = f.cfg.EntryTimeout, f.cfg.AttrTimeout
	f.cfg.rewrite(e.NodeID, &e.Attr)
	if f.debug {
		f.trace("   NODEID: %d", e.NodeID)
	}
}

// find asks the file system for what is at path and makes the answer about it.
func (f *FS) find(c *call, p *want, path string, fi *FileInfo, e *lowlevel.Entry) error {
	c.stat = Stat{}
	if err := f.top.Getattr(&c.Context, path, &c.stat, fi); Errno(err) != 0 {
		return err
	}
	e.Attr = c.stat
	f.entry(p.n, p.name, e)
	return nil
}

func (f *FS) doLookup(r lowlevel.EntryReq, parent NodeID, name lowlevel.Name) {
	c := f.call(r.Req)
	var e lowlevel.Entry
	var err syscall.Errno
	if s := name.Bytes(); string(s) == "." || string(s) == ".." {
		err = f.lookupDot(c, parent, len(s) == 2, &e)
	} else {
		err = f.at(c, parent, s, false, func(path string, p *want) error {
			if f.debug {
				f.trace("LOOKUP %s", path)
			}
			return f.find(c, p, path, nil, &e)
		})
	}
	if err == syscall.ENOENT && f.cfg.NegativeTimeout > 0 {
		e, err = lowlevel.Entry{EntryTimeout: f.cfg.NegativeTimeout}, 0
	}
	if !c.failed(err) {
		c.replyEntry(r, &e)
	}
}

// lookupDot answers for "." and "..", which only NFS exports look up.
func (f *FS) lookupDot(c *call, id NodeID, up bool, e *lowlevel.Entry) syscall.Errno {
	if f.debug {
		if up {
			f.trace("LOOKUP-DOTDOT")
		} else {
			f.trace("LOOKUP-DOT")
		}
	}
	if up {
		if id == rootID {
			return syscall.ENOENT
		}
		f.mu.Lock()
		n := f.byID(id)
		if n == nil || n.parent == nil {
			f.mu.Unlock()
			return syscall.ESTALE
		}
		id = n.parent.nodeID()
		f.mu.Unlock()
	}
	return f.at(c, id, nil, false, func(path string, p *want) error {
		c.stat = Stat{}
		if err := f.top.Getattr(&c.Context, path, &c.stat, nil); Errno(err) != 0 {
			return err
		}
		e.Attr = c.stat
		f.mu.Lock()
		f.unlist(p.n)
		p.n.ref()
		f.entryOf(p.n, e)
		f.mu.Unlock()
		return nil
	})
}

func (f *FS) doForget(r lowlevel.NoneReq, id NodeID, n uint64) {
	if f.debug {
		f.trace("FORGET %d/%d", id, n)
	}
	f.forget(id, n)
	r.ReplyNone()
}

func (f *FS) doForgetMulti(r lowlevel.NoneReq, list []lowlevel.Forget) {
	for _, e := range list {
		if f.debug {
			f.trace("FORGET %d/%d", e.NodeID, e.N)
		}
		f.forget(e.NodeID, e.N)
	}
	r.ReplyNone()
}

// attributes gets those of a node whose path is locked.
func (f *FS) attributes(c *call, id NodeID, path string, fi *FileInfo) error {
	c.stat = Stat{}
	return f.top.Getattr(&c.Context, path, &c.stat, fi)
}

// seen is what the node table has to do with attributes that go to the kernel.
func (f *FS) seen(id NodeID, st *Stat, hide bool) {
	if f.cfg.AutoCache || hide && f.hidden.Load() > 0 {
		f.mu.Lock()
		if n := f.byID(id); n != nil {
			if hide && n.is(nodeHidden) && st.Nlink > 0 {
				st.Nlink--
			}
			if f.cfg.AutoCache {
				f.observe(n, st)
			}
		}
		f.mu.Unlock()
	}
	f.cfg.rewrite(id, st)
}

func (f *FS) doGetattr(r lowlevel.AttrReq, id NodeID, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.maybeOn(c, id, fi, func(path string, fi *FileInfo) error { return f.attributes(c, id, path, fi) })
	if !c.failed(err) {
		f.seen(id, &c.stat, true)
		r.ReplyAttr(&c.stat, f.cfg.AttrTimeout)
	}
}

func (f *FS) doStatx(r lowlevel.StatxReq, id NodeID, flags, mask uint32, fi *FileInfo) {
	c := f.call(r.Req)
	var stx Statx
	err := f.maybeOn(c, id, fi, func(path string, fi *FileInfo) error {
		if path == "" {
			flags |= atEmptyPath
		}
		return f.top.Statx(&c.Context, path, flags, mask, &stx, fi)
	})
	if !c.failed(err) {
		f.seen(id, &stx.Stat, true)
		r.ReplyStatx(&stx, f.cfg.AttrTimeout)
	}
}

const atEmptyPath = 0x1000

func (f *FS) doSetattr(r lowlevel.AttrReq, id NodeID, a *lowlevel.SetAttr, fi *FileInfo) {
	c := f.call(r.Req)
	err := f.maybeOn(c, id, fi, func(path string, fi *FileInfo) error {
		if err := f.change(c, path, a, fi); Errno(err) != 0 {
			return err
		}
		return f.attributes(c, id, path, fi)
	})
	if !c.failed(err) {
		f.seen(id, &c.stat, false)
		r.ReplyAttr(&c.stat, f.cfg.AttrTimeout)
	}
}

// change makes the changes that a asks for, until one fails.
func (f *FS) change(c *call, path string, a *lowlevel.SetAttr, fi *FileInfo) error {
	has := func(v wire.SetattrValid) bool { return a.Valid&v != 0 }
	if has(wire.FattrMode) {
		if err := f.top.Chmod(&c.Context, path, a.Mode, fi); Errno(err) != 0 {
			return err
		}
	}
	if has(wire.FattrUID | wire.FattrGID) {
		uid, gid := KeepID, KeepID
		if has(wire.FattrUID) {
			uid = a.UID
		}
		if has(wire.FattrGID) {
			gid = a.GID
		}
		if err := f.top.Chown(&c.Context, path, uid, gid, fi); Errno(err) != 0 {
			return err
		}
	}
	if has(wire.FattrSize) {
		if err := f.top.Truncate(&c.Context, path, int64(a.Size), fi); Errno(err) != 0 {
			return err
		}
	}
	if has(wire.FattrAtime | wire.FattrMtime) {
		pick := func(t Time, set, now wire.SetattrValid) Time {
			switch {
			case has(now):
				return Time{Nsec: UtimeNow}
			case has(set):
				return t
			}
			return Time{Nsec: UtimeOmit}
		}
		atime := pick(a.Atime, wire.FattrAtime, wire.FattrAtimeNow)
		mtime := pick(a.Mtime, wire.FattrMtime, wire.FattrMtimeNow)
		if err := f.top.Utimens(&c.Context, path, atime, mtime, fi); Errno(err) != 0 {
			return err
		}
	}
	return nil
}

func (f *FS) doAccess(r lowlevel.ErrReq, id NodeID, mask uint32) {
	c := f.call(r.Req)
	err := f.at(c, id, nil, false, func(path string, _ *want) error { return f.top.Access(&c.Context, path, mask) })
	c.end()
	r.ReplyErr(err)
}

// maxTarget is the longest target of a symlink: libfuse's buffer.
const maxTarget = 4096

func (f *FS) doReadlink(r lowlevel.LinkReq, id NodeID) {
	c := f.call(r.Req)
	var target string
	err := f.at(c, id, nil, false, func(path string, _ *want) (err error) {
		target, err = f.top.Readlink(&c.Context, path)
		return err
	})
	if !c.failed(err) {
		r.ReplyReadlink(target[:min(len(target), maxTarget)])
	}
}

// create runs op, which creates what is at the path, and makes the answer about it.
func (f *FS) create(r lowlevel.EntryReq, parent NodeID, name lowlevel.Name, op func(c *call, path string) error) {
	c := f.call(r.Req)
	var e lowlevel.Entry
	err := f.at(c, parent, name.Bytes(), false, func(path string, p *want) error {
		if err := op(c, path); Errno(err) != 0 {
			return err
		}
		return f.find(c, p, path, nil, &e)
	})
	if !c.failed(err) {
		c.replyEntry(r, &e)
	}
}

func (f *FS) doMknod(r lowlevel.EntryReq, parent NodeID, name lowlevel.Name, mode, rdev uint32) {
	c := f.call(r.Req)
	var e lowlevel.Entry
	err := f.at(c, parent, name.Bytes(), false, func(path string, p *want) error {
		if mode&modeType == modeRegular {
			fi := FileInfo{Flags: syscall.O_CREAT | syscall.O_EXCL | syscall.O_WRONLY}
			err := f.top.Create(&c.Context, path, mode, &fi)
			if Errno(err) == 0 {
				err = f.find(c, p, path, &fi, &e)
				f.top.Release(&c.Context, path, &fi)
			}
			if Errno(err) != syscall.ENOSYS {
				return err
			}
		}
		if err := f.top.Mknod(&c.Context, path, mode, rdev); Errno(err) != 0 {
			return err
		}
		return f.find(c, p, path, nil, &e)
	})
	if !c.failed(err) {
		c.replyEntry(r, &e)
	}
}

func (f *FS) doMkdir(r lowlevel.EntryReq, parent NodeID, name lowlevel.Name, mode uint32) {
	f.create(r, parent, name, func(c *call, path string) error { return f.top.Mkdir(&c.Context, path, mode) })
}

func (f *FS) doSymlink(r lowlevel.EntryReq, target lowlevel.Name, parent NodeID, name lowlevel.Name) {
	to := target.String()
	f.create(r, parent, name, func(c *call, path string) error { return f.top.Symlink(&c.Context, to, path) })
}

func (f *FS) doLink(r lowlevel.EntryReq, id, newparent NodeID, newname lowlevel.Name) {
	c := f.call(r.Req)
	var e lowlevel.Entry
	err := f.at2(c, want{id: id}, want{id: newparent, name: newname.Bytes()}, func(from, to string, _, p *want) error {
		if err := f.top.Link(&c.Context, from, to); Errno(err) != 0 {
			return err
		}
		return f.find(c, p, to, nil, &e)
	})
	if !c.failed(err) {
		c.replyEntry(r, &e)
	}
}

func (f *FS) doStatfs(r lowlevel.StatfsReq, id NodeID) {
	c := f.call(r.Req)
	st := Statfs{}
	err := f.ofFS(c, id, func(path string, _ *want) error { return f.top.Statfs(&c.Context, path, &st) })
	if !c.failed(err) {
		r.ReplyStatfs(&st)
	}
}

func (f *FS) doSyncfs(r lowlevel.ErrReq, id NodeID) {
	c := f.call(r.Req)
	err := f.ofFS(c, id, func(path string, _ *want) error { return f.top.Syncfs(&c.Context, path) })
	c.end()
	r.ReplyErr(err)
}

// ofFS is at for what is about all of the file system.
func (f *FS) ofFS(c *call, id NodeID, op func(path string, p *want) error) syscall.Errno {
	if id == 0 {
		return f.errno(c, op("/", nil))
	}
	return f.at(c, id, nil, false, op)
}
