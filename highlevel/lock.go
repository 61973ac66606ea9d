//go:build linux

package highlevel

import (
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// heldLock is a POSIX lock that somebody has.
type heldLock struct {
	Flock
	owner uint64
}

// conflict finds a lock of another owner that stands in the way of l.
func (n *node) conflict(l *heldLock) *heldLock {
	if n.extra == nil {
		return nil
	}
	for i := range n.extra.locks {
		h := &n.extra.locks[i]
		if h.owner != l.owner && h.Start <= l.End && l.Start <= h.End && (h.Type == syscall.F_WRLCK || l.Type == syscall.F_WRLCK) {
			return h
		}
	}
	return nil
}

// setLock makes [l.Start, l.End] what l says for its owner: other locks of the owner are cut, and joined with l where they are
// of the same kind and touch it. The order of the list, of which conflict reports the first, is libfuse's.
func (n *node) setLock(l heldLock) {
	if l.Start > l.End || n.extra == nil && l.Type == syscall.F_UNLCK {
		return
	}
	l.End = min(l.End, lowlevel.LockEOF)
	x := n.more()
	i := 0
search:
	for i < len(x.locks) {
		h := &x.locks[i]
		same := h.Type == l.Type
		gap := uint64(0)
		if same {
			gap = 1
		}
		switch {
		case h.owner != l.owner, h.End+gap < l.Start:
			i++
		case l.End+gap < h.Start:
			break search
		case same && h.Start <= l.Start && l.End <= h.End: // held already
			return
		case same:
			l.Start, l.End = min(l.Start, h.Start), max(l.End, h.End)
			x.locks = slices.Delete(x.locks, i, i+1)
		case l.Start <= h.Start && h.End <= l.End:
			x.locks = slices.Delete(x.locks, i, i+1)
		case l.Start <= h.Start:
			h.Start = l.End + 1
			break search
		case h.End <= l.End:
			h.End = l.Start - 1
			i++
		default:
			right := *h
			right.Start, h.End = l.End+1, l.Start-1
			i++
			x.locks = slices.Insert(x.locks, i, right)
			break search
		}
	}
	if l.Type != syscall.F_UNLCK {
		x.locks = slices.Insert(x.locks, i, l)
	}
}

func (f *FS) doGetlk(r lowlevel.LockReq, id NodeID, fi *FileInfo, lk *Flock) {
	c := f.call(r.Req)
	f.mu.Lock()
	var held *heldLock
	n := f.byID(id)
	if n != nil {
		held = n.conflict(&heldLock{*lk, fi.LockOwner})
	}
	if held != nil {
		*lk = held.Flock
	}
	f.mu.Unlock()
	var err syscall.Errno
	if held == nil {
		err = f.on(c, id, func(path string, _ *want) error { return f.top.Lock(&c.Context, path, fi, syscall.F_GETLK, lk) })
	}
	if !c.failed(err) {
		r.ReplyLock(lk)
	}
}

func (f *FS) doSetlk(r lowlevel.ErrReq, id NodeID, fi *FileInfo, lk *Flock, sleep bool) {
	c := f.call(r.Req)
	want := heldLock{*lk, fi.LockOwner}
	cmd := syscall.F_SETLK
	if sleep {
		cmd = syscall.F_SETLKW
	}
	err := f.patient(c, id, sleep, func(path string) error { return f.top.Lock(&c.Context, path, fi, cmd, lk) })
	if err == 0 {
		f.mu.Lock()
		if n := f.byID(id); n != nil {
			n.setLock(want)
		}
		f.mu.Unlock()
	}
	c.end()
	r.ReplyErr(err)
}

func (f *FS) doFlock(r lowlevel.ErrReq, id NodeID, fi *FileInfo, op int) {
	c := f.call(r.Req)
	err := f.patient(c, id, op&syscall.LOCK_NB == 0, func(path string) error { return f.top.Flock(&c.Context, path, fi, op) })
	c.end()
	r.ReplyErr(err)
}

// patient is on for what may wait until somebody gives a lock back. It does not hold the path meanwhile: who has the lock
// may first want to rename or remove something on the path.
func (f *FS) patient(c *call, id NodeID, sleep bool, op func(path string) error) syscall.Errno {
	if !sleep {
		return f.on(c, id, func(path string, _ *want) error { return op(path) })
	}
	path := ""
	if err := f.on(c, id, func(p string, _ *want) error {
		path = p
		return nil
	}); err != 0 {
		return err
	}
	return f.errno(c, op(path))
}
