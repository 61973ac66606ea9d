//go:build linux

package main

import (
	"strconv"
	"sync"
	"syscall"

	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
)

// locks are locks in the files below.
type locks struct {
	kicker *sys.Kicker // ends a wait whose caller was interrupted

	mu     sync.Mutex
	owners map[ownerKey]*lockOwner
}

// flock locks the open file below, one for each open file in the mount.
func (l *locks) flock(c *hl.Context, _ string, fi *hl.FileInfo, op int) error {
	fd := int(fi.FH)
	err := sys.Flock(fd, op|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK && op&syscall.LOCK_NB == 0 {
		err = l.kicker.Wait(c, func() error { return sys.Flock(fd, op) })
	}
	return err
}

// POSIX locks belong to a process and a file, and this one process has them all. So each owner gets an open file of its own
// for each file that it locks, with locks of the kind that belong to open files.
type ownerKey struct{ dev, ino, owner uint64 }

type lockOwner struct {
	fd   int
	uses int // calls under way
	held bool
}

// posix answers fcntl(2). What an owner has locked goes with an unlocking of everything, which the library sends after each
// close(2), as POSIX has it.
func (l *locks) posix(c *hl.Context, _ string, fi *hl.FileInfo, cmd int, lk *hl.Flock) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(fi.FH), &st); err != nil {
		return err
	}
	key := ownerKey{uint64(st.Dev), uint64(st.Ino), fi.LockOwner}
	all := cmd != syscall.F_GETLK && lk.Type == syscall.F_UNLCK && lk.Start == 0 && lk.End == lowlevel.LockEOF
	o, err := l.enter(key, int(fi.FH), all)
	if o == nil || err != nil {
		return err // nothing to unlock
	}
	defer l.leave(key, o)
	r := sys.LockRange{Type: lk.Type, Start: int64(lk.Start), Len: lk.Len()}
	if cmd == syscall.F_SETLKW {
		err = l.kicker.Wait(c, func() error { return sys.OFDLock(o.fd, cmd, &r) })
	} else {
		err = sys.OFDLock(o.fd, cmd, &r)
	}
	switch {
	case err != nil:
		return err
	case cmd == syscall.F_GETLK:
		*lk = hl.Flock{Type: r.Type, Start: uint64(r.Start), End: lowlevel.LockEOF, PID: uint32(max(r.PID, 0))}
		if r.Len != 0 {
			lk.End = lk.Start + uint64(r.Len) - 1
		}
	default:
		l.mu.Lock()
		o.held = !all
		l.mu.Unlock()
	}
	return nil
}

// enter finds or makes the open file of an owner; nil if it has none and is only to unlock.
func (l *locks) enter(key ownerKey, fd int, unlock bool) (*lockOwner, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.owners[key]
	if o == nil {
		if unlock {
			return nil, nil
		}
		path := "/proc/self/fd/" + strconv.Itoa(fd)
		own, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0) // both kinds of locks, whatever this open file may do
		if err != nil {
			own, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		}
		if err != nil {
			return nil, err
		}
		if l.owners == nil {
			l.owners = map[ownerKey]*lockOwner{}
		}
		o = &lockOwner{fd: own}
		l.owners[key] = o
	}
	o.uses++
	return o, nil
}

func (l *locks) leave(key ownerKey, o *lockOwner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.uses--; o.uses == 0 && !o.held {
		delete(l.owners, key)
		syscall.Close(o.fd)
	}
}
