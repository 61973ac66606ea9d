//go:build linux

package sys

import (
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls in this file take paths and do not follow a symlink at their end. What package syscall has is not here.

// Lgetxattr is lgetxattr(2).
func Lgetxattr(path, name string, dst []byte) (int, error) { return unix.Lgetxattr(path, name, dst) }

// Llistxattr is llistxattr(2).
func Llistxattr(path string, dst []byte) (int, error) { return unix.Llistxattr(path, dst) }

// Lsetxattr is lsetxattr(2).
func Lsetxattr(path, name string, value []byte, flags int) error {
	return unix.Lsetxattr(path, name, value, flags)
}

// Lremovexattr is lremovexattr(2).
func Lremovexattr(path, name string) error { return unix.Lremovexattr(path, name) }

// Lutimens is utimensat(2); the nanoseconds may be UtimeNow and UtimeOmit.
func Lutimens(path string, asec int64, ansec uint32, msec int64, mnsec uint32) error {
	ts := []unix.Timespec{timespec(asec, ansec), timespec(msec, mnsec)}
	return again(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, AtNoFollow) })
}

// Futimens is futimens(3).
func Futimens(fd int, asec int64, ansec uint32, msec int64, mnsec uint32) error {
	ts := []unix.Timespec{timespec(asec, ansec), timespec(msec, mnsec)}
	return again(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), ts, 0) })
}

// Lstatx is statx(2) of a path, or of what is open as dir if that is "".
func Lstatx(dir int, path string, mask uint32, stx *Statx) error {
	return again(func() error { return unix.Statx(dir, path, AtNoFollow|AtEmptyPath, int(mask), stx) })
}

// LstatIn is fstatat(2) of a name in a directory.
func LstatIn(dir int, name string, st *syscall.Stat_t) error {
	return again(func() error { return unix.Fstatat(dir, name, (*unix.Stat_t)(unsafe.Pointer(st)), AtNoFollow) })
}

// LockRange is what struct flock says of a lock; Len 0 reaches to the end of the file.
type LockRange struct {
	Type       int16
	Start, Len int64
	PID        int32
}

// OFDLock is fcntl(2) with F_OFD_GETLK, F_OFD_SETLK or F_OFD_SETLKW for F_GETLK, F_SETLK or F_SETLKW: a lock of the open file,
// not of the process. Not retried on EINTR.
func OFDLock(fd, cmd int, l *LockRange) error {
	ofd := map[int]int{unix.F_GETLK: unix.F_OFD_GETLK, unix.F_SETLK: unix.F_OFD_SETLK, unix.F_SETLKW: unix.F_OFD_SETLKW}
	lk := unix.Flock_t{Type: l.Type, Start: l.Start, Len: l.Len}
	err := unix.FcntlFlock(uintptr(fd), ofd[cmd], &lk)
	*l = LockRange{lk.Type, lk.Start, lk.Len, lk.Pid}
	return err
}
