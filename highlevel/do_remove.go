//go:build linux

package highlevel

import (
	"fmt"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

func (f *FS) doUnlink(r lowlevel.ErrReq, parent NodeID, name lowlevel.Name) {
	c := f.call(r.Req)
	err := f.at(c, parent, name.Bytes(), true, func(path string, p *want) error {
		if f.mustHide(p.w) {
			if err := f.hide(c, p, path); Errno(err) != 0 {
				return err
			}
			return f.unlinkUnused(c, p.aside)
		}
		if err := f.top.Unlink(&c.Context, path); Errno(err) != 0 {
			return err
		}
		f.remove(p.w)
		return nil
	})
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doRmdir(r lowlevel.ErrReq, parent NodeID, name lowlevel.Name) {
	c := f.call(r.Req)
	err := f.at(c, parent, name.Bytes(), true, func(path string, p *want) error {
		if err := f.top.Rmdir(&c.Context, path); Errno(err) != 0 {
			return err
		}
		f.remove(p.w)
		return nil
	})
	c.end()
	r.ReplyErr(err)
}

func (f *FS) remove(n *node) {
	f.mu.Lock()
	f.unlinked(n)
	f.mu.Unlock()
}

func (f *FS) doRename(r lowlevel.ErrReq, parent NodeID, name lowlevel.Name, newparent NodeID, newname lowlevel.Name, flags uint32) {
	c := f.call(r.Req)
	from, to := want{id: parent, name: name.Bytes(), write: true}, want{id: newparent, name: newname.Bytes(), write: true}
	err := f.at2(c, from, to, func(from, to string, a, b *want) error {
		hide := b.w != nil && flags&(RenameExchange|RenameNoreplace) == 0 && f.mustHide(b.w)
		if hide {
			if err := f.hide(c, b, to); Errno(err) != 0 {
				return err
			}
		}
		if err := f.top.Rename(&c.Context, from, to, flags); Errno(err) != 0 {
			return err
		}
		if b.w != nil { // not the same name twice
			f.renamed(a, b, flags&RenameExchange != 0)
		}
		if hide {
			return f.unlinkUnused(c, b.aside)
		}
		return nil
	})
	c.end()
	r.ReplyErr(err)
}

// renamed does in the table what the file system has done.
func (f *FS) renamed(a, b *want, exchange bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if exchange {
		f.exchanged(a.w, b.w)
		return
	}
	f.unlinked(b.w)
	f.moved(a.w, b.n, string(b.name))
}

// mustHide reports whether a file that is about to lose its name is open.
func (f *FS) mustHide(n *node) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.cfg.HardRemove && n.opens > 0
}

// hideTries is how many hidden names are tried.
const hideTries = 10

// hide renames an open file, which is locked for writing, to a name of its own in the same directory. It becomes p.aside, and
// its old name stays locked.
func (f *FS) hide(c *call, p *want, path string) error {
	parent, n := p.n, p.w
	name, hidden, ok := f.hiddenName(c, parent, n)
	if !ok {
		return syscall.EBUSY
	}
	if err := f.top.Rename(&c.Context, path, hidden, 0); Errno(err) != 0 {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.child(parent, name) != nil {
		f.log.Error("fuse: hidden file got created during hiding")
		return syscall.EBUSY
	}
	f.moved(n, parent, name)
	n.flags |= nodeHidden
	p.aside, p.w = n, f.reserve(parent, p.name)
	return nil
}

// hiddenName finds a name that is not taken.
func (f *FS) hiddenName(c *call, parent, n *node) (name, path string, ok bool) {
	for range hideTries {
		f.mu.Lock()
		for {
			name = fmt.Sprintf(".fuse_hidden%08x%08x", n.id, f.hidden.Add(1))
			if f.child(parent, name) == nil {
				break
			}
		}
		path, ok = f.pathNow(parent, []byte(name))
		f.mu.Unlock()
		if !ok {
			return "", "", false
		}
		c.stat = Stat{}
		switch err := f.top.Getattr(&c.Context, path, &c.stat, nil); Errno(err) {
		case 0:
		case syscall.ENOENT:
			return name, path, true
		default:
			return "", "", false
		}
	}
	return "", "", false
}

// unlinkUnused unlinks a hidden file that is not open any more, and is locked for writing: its last release may have come
// while it was being hidden.
func (f *FS) unlinkUnused(c *call, n *node) error {
	f.mu.Lock()
	path, ok := "", false
	if n.is(nodeHidden) && n.opens == 0 {
		n.flags &^= nodeHidden
		path, ok = f.pathNow(n, nil)
	}
	f.mu.Unlock()
	if !ok {
		return nil
	}
	if err := f.top.Unlink(&c.Context, path); Errno(err) != 0 {
		return err
	}
	f.remove(n)
	return nil
}

// unlinkHidden unlinks a hidden file after its last release. It is locked for that: somebody whose open was under way when
// the file was removed may still come, and keeps it.
func (f *FS) unlinkHidden(c *call, n *node) {
	for again := true; again; {
		f.mu.Lock()
		if n.name == "" || !n.is(nodeHidden) || n.opens > 0 {
			f.mu.Unlock()
			return
		}
		id, name := n.parent.nodeID(), []byte(n.name)
		f.mu.Unlock()
		err := f.at(c, id, name, true, func(_ string, p *want) error {
			if again = p.w != n; again { // it was renamed
				return nil
			}
			return f.unlinkUnused(c, n)
		})
		again = again && err == 0
	}
}
