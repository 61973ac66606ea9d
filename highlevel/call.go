//go:build linux

package highlevel

import (
	"bytes"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// call is what one request needs in one piece of memory.
type call struct {
	Context
	path want
	stat Stat
	used bool
	buf  [103]byte // of the first path, unless that is longer
}

// room is memory for a path: strings are not written over, so it is there once.
func (c *call) room() []byte {
	if c.used {
		return nil
	}
	c.used = true
	return c.buf[:]
}

func (f *FS) call(r lowlevel.Req) *call {
	who := r.Caller()
	return &call{Context: Context{UID: who.UID, GID: who.GID, PID: who.PID, Umask: who.Umask, FS: f, Private: f.top.private, req: r}}
}

// undoing is a call that takes back what c did for a caller who is gone. Its context has no request.
func (c *call) undoing() *call {
	return &call{Context: Context{UID: c.UID, GID: c.GID, PID: c.PID, Umask: c.Umask, FS: c.FS, Private: c.FS.top.private}}
}

// replyEntry answers with an entry, whose lookup is not counted if nobody waits for it any more.
func (c *call) replyEntry(r lowlevel.EntryReq, e *lowlevel.Entry) {
	if r.ReplyEntry(e) == syscall.ENOENT && e.NodeID != 0 {
		c.FS.forget(e.NodeID, 1)
	}
}

// failed ends the call, and sends the error if there is one.
func (c *call) failed(e syscall.Errno) bool {
	c.end()
	if e == 0 {
		return false
	}
	c.req.ReplyErr(e)
	return true
}

// at runs op with the locked path of a node, or of a child of it.
func (f *FS) at(c *call, id NodeID, name []byte, write bool, op func(path string, p *want) error) syscall.Errno {
	if name != nil && !validName(name) {
		return syscall.EINVAL
	}
	p := &c.path
	*p = want{id: id, name: name, write: write}
	if e := f.lock(p, nil); e != 0 {
		return e
	}
	defer f.unlocked(p, nil)
	return f.errno(c, op(f.path(p, c.room()), p))
}

// on runs op with the locked path of an open file, which may be "".
func (f *FS) on(c *call, id NodeID, op func(path string, p *want) error) syscall.Errno {
	p := &c.path
	*p = want{id: id}
	path := ""
	if !f.cfg.NullPathOK {
		switch e := f.lock(p, nil); e {
		case 0:
			path = f.path(p, c.room())
		case syscall.ESTALE:
		default:
			return e
		}
	}
	defer f.unlocked(p, nil)
	return f.errno(c, op(path, p))
}

// maybeOn is on with a FileInfo and at without. A file without a name may be reached through a handle.
func (f *FS) maybeOn(c *call, id NodeID, fi *FileInfo, op func(path string, fi *FileInfo) error) syscall.Errno {
	if fi != nil {
		return f.on(c, id, func(path string, _ *want) error { return op(path, fi) })
	}
	called := false
	err := f.at(c, id, nil, false, func(path string, _ *want) error {
		called = true
		return op(path, nil)
	})
	if !called && err == syscall.ESTALE && f.reachable() {
		return f.byHandle(c, id, func(fi *FileInfo) error { return op("", fi) })
	}
	return err
}

// at2 runs op with two locked paths.
func (f *FS) at2(c *call, a, b want, op func(from, to string, a, b *want) error) syscall.Errno {
	if a.name != nil && !validName(a.name) || b.name != nil && !validName(b.name) {
		return syscall.EINVAL
	}
	if e := f.lock(&a, &b); e != 0 {
		return e
	}
	defer f.unlocked(&a, &b)
	return f.errno(c, op(f.path(&a, c.room()), f.path(&b, nil), &a, &b))
}

// on2 is on for two open files. If one of them has no name, the other one's path is locked alone.
func (f *FS) on2(c *call, a, b NodeID, op func(from, to string) error) syscall.Errno {
	if f.cfg.NullPathOK {
		return f.errno(c, op("", ""))
	}
	p, q := want{id: a}, want{id: b}
	from, to := "", ""
	switch e := f.lock(&p, &q); e {
	case 0:
		defer f.unlocked(&p, &q)
		from, to = f.path(&p, c.room()), f.path(&q, nil)
	case syscall.ESTALE:
		if f.lock(&p, nil) == 0 {
			defer f.unlocked(&p, nil)
			from = f.path(&p, c.room())
		} else if f.lock(&q, nil) == 0 {
			defer f.unlocked(&q, nil)
			to = f.path(&q, c.room())
		}
	default:
		return e
	}
	return f.errno(c, op(from, to))
}

func (f *FS) unlocked(a, b *want) {
	f.mu.Lock()
	f.unlock(a, b)
	f.mu.Unlock()
}

// validName refuses names that no kernel sends and no path can have.
func validName(name []byte) bool {
	switch len(name) {
	case 0:
		return false
	case 1, 2:
		return string(name) != "." && string(name) != ".." && bytes.IndexByte(name, '/') < 0
	}
	return bytes.IndexByte(name, '/') < 0
}
