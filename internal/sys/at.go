//go:build linux

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls in this file take names as the protocol delivers them, NUL-terminated, and allocate nothing. A name is relative
// to a directory descriptor. EINTR is retried.

// CName is a NUL-terminated name.
type CName = *byte

// Empty is the empty name, for calls with AtEmptyPath.
var Empty CName = new(byte)

// Dot is the name of a directory in itself.
var Dot = &[]byte(".\x00")[0]

// Flags of the calls in this file.
const (
	AtFDCWD     = unix.AT_FDCWD
	AtEmptyPath = unix.AT_EMPTY_PATH
	AtNoFollow  = unix.AT_SYMLINK_NOFOLLOW
	AtFollow    = unix.AT_SYMLINK_FOLLOW
	AtRemoveDir = unix.AT_REMOVEDIR
	OPath       = unix.O_PATH
	OTmpfile    = unix.O_TMPFILE
	UtimeNow    = unix.UTIME_NOW
	UtimeOmit   = unix.UTIME_OMIT
)

// pathCall is a call whose first arguments are a directory and a name in it.
func pathCall(trap uintptr, dir int, name CName, a, b, c uintptr) error {
	for {
		_, _, e := unix.Syscall6(trap, uintptr(dir), uintptr(unsafe.Pointer(name)), a, b, c, 0)
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}

// twoPathCall is a call on two names.
func twoPathCall(trap uintptr, dir int, name CName, dir2 int, name2 CName, flags uint32) error {
	for {
		_, _, e := unix.Syscall6(trap, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(dir2), uintptr(unsafe.Pointer(name2)), uintptr(flags), 0)
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}

// Openat is openat(2), for large files and with O_CLOEXEC.
func Openat(dir int, name CName, flags int, mode uint32) (int, error) {
	for {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags|unix.O_CLOEXEC|unix.O_LARGEFILE), uintptr(mode), 0, 0)
		if e != unix.EINTR {
			return result(fd, e)
		}
	}
}

// Fstatat is fstatat(2).
func Fstatat(dir int, name CName, st *syscall.Stat_t, flags int) error {
	_, _, e := unix.Syscall6(sysFstatat, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(st)), uintptr(flags), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// Fstat is fstat(2), which also takes descriptors opened with OPath.
func Fstat(fd int, st *syscall.Stat_t) error { return syscall.Fstat(fd, st) }

// Statx is the kernel's struct statx.
type Statx = unix.Statx_t

// StatxAt is statx(2).
func StatxAt(dir int, name CName, flags, mask uint32, stx *Statx) error {
	_, _, e := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(stx)), 0)
	if e != 0 {
		return e
	}
	return nil
}

// Readlinkat is readlinkat(2).
func Readlinkat(dir int, name CName, buf []byte) (int, error) {
	n, _, e := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
	return result(n, e)
}

// Mknodat is mknodat(2).
func Mknodat(dir int, name CName, mode, dev uint32) error {
	return pathCall(unix.SYS_MKNODAT, dir, name, uintptr(mode), uintptr(dev), 0)
}

// Mkdirat is mkdirat(2).
func Mkdirat(dir int, name CName, mode uint32) error {
	return pathCall(unix.SYS_MKDIRAT, dir, name, uintptr(mode), 0, 0)
}

// Unlinkat is unlinkat(2).
func Unlinkat(dir int, name CName, flags int) error {
	return pathCall(unix.SYS_UNLINKAT, dir, name, uintptr(flags), 0, 0)
}

// Symlinkat is symlinkat(2).
func Symlinkat(target CName, dir int, name CName) error {
	_, _, e := unix.Syscall(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(target)), uintptr(dir), uintptr(unsafe.Pointer(name)))
	if e != 0 {
		return e
	}
	return nil
}

// Linkat is linkat(2).
func Linkat(dir int, name CName, newdir int, newname CName, flags int) error {
	return twoPathCall(unix.SYS_LINKAT, dir, name, newdir, newname, uint32(flags))
}

// Renameat2 is renameat2(2).
func Renameat2(dir int, name CName, newdir int, newname CName, flags uint32) error {
	return twoPathCall(unix.SYS_RENAMEAT2, dir, name, newdir, newname, flags)
}

// Fchmodat is chmod(2) relative to a directory; it follows symlinks.
func Fchmodat(dir int, name CName, mode uint32) error {
	return pathCall(unix.SYS_FCHMODAT, dir, name, uintptr(mode), 0, 0)
}

// Fchownat is fchownat(2); ^0 leaves an id as it is.
func Fchownat(dir int, name CName, uid, gid uint32, flags int) error {
	return pathCall(unix.SYS_FCHOWNAT, dir, name, uintptr(uid), uintptr(gid), uintptr(flags))
}

// Timespec is a time of Utimensat; its nanoseconds may be UtimeNow or UtimeOmit.
type Timespec struct{ Sec, Nsec int64 }

// Utimensat is utimensat(2).
func Utimensat(dir int, name CName, ts *[2]Timespec, flags int) error {
	_, _, e := unix.Syscall6(sysUtimensat, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(ts)), uintptr(flags), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// Truncate is truncate(2).
func Truncate(path CName, size int64) error {
	return unix.Truncate(unix.BytePtrToString(path), size)
}

// Ftruncate is ftruncate(2).
func Ftruncate(fd int, size int64) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Ftruncate(fd, size) })
	return err
}

// Dup is dup(2) with O_CLOEXEC.
func Dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// Fsync is fsync(2).
func Fsync(fd int) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Fsync(fd) })
	return err
}

// Fdatasync is fdatasync(2).
func Fdatasync(fd int) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Fdatasync(fd) })
	return err
}

// Fallocate is fallocate(2).
func Fallocate(fd int, mode uint32, off, n int64) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.Fallocate(fd, mode, off, n) })
	return err
}

// Flock is flock(2), not retried on EINTR.
func Flock(fd, op int) error { return unix.Flock(fd, op) }

// Seek is lseek(2).
func Seek(fd int, off int64, whence int) (int64, error) { return unix.Seek(fd, off, whence) }

// CopyFileRange is copy_file_range(2).
func CopyFileRange(in int, inOff int64, out int, outOff int64, n int, flags int) (int, error) {
	return retry(func() (int, error) { return unix.CopyFileRange(in, &inOff, out, &outOff, n, flags) })
}

// Getdents is getdents64(2).
func Getdents(fd int, buf []byte) (int, error) { return unix.Getdents(fd, buf) }

// Statfs is the kernel's struct statfs.
type Statfs = unix.Statfs_t

// Fstatfs is fstatfs(2).
func Fstatfs(fd int, st *Statfs) error { return unix.Fstatfs(fd, st) }

// Getxattr is getxattr(2).
func Getxattr(path, name CName, buf []byte) (int, error) {
	n, _, e := unix.Syscall6(unix.SYS_GETXATTR, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
	return result(n, e)
}

// Listxattr is listxattr(2).
func Listxattr(path CName, buf []byte) (int, error) {
	n, _, e := unix.Syscall(unix.SYS_LISTXATTR, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	return result(n, e)
}

// Setxattr is setxattr(2).
func Setxattr(path, name CName, value []byte, flags uint32) error {
	_, _, e := unix.Syscall6(unix.SYS_SETXATTR, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(len(value)), uintptr(flags), 0)
	if e != 0 {
		return e
	}
	return nil
}

// Removexattr is removexattr(2).
func Removexattr(path, name CName) error {
	_, _, e := unix.Syscall(unix.SYS_REMOVEXATTR, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(name)), 0)
	if e != 0 {
		return e
	}
	return nil
}
