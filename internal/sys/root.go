//go:build linux

package sys

import (
	"bytes"
	"encoding/binary"
	"iter"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// At is a name in an open directory; "" is the directory, or whatever else is open, itself.
type At struct {
	Dir  *os.File
	Name string
}

// fd is the directory's descriptor, name what stands for the At in system calls without AT_EMPTY_PATH.
func (a At) fd() int { return int(a.Dir.Fd()) }

// proc is a path of the At. A symlink at its end is not followed by calls that follow none, but for "".
func (a At) proc() string {
	p := "/proc/self/fd/" + strconv.Itoa(a.fd())
	if a.Name != "" {
		p += "/" + a.Name
	}
	return p
}

func (a At) done() { runtime.KeepAlive(a.Dir) }

// Lstat is lstat(2).
func (a At) Lstat(st *syscall.Stat_t) error {
	defer a.done()
	return again(func() error {
		return unix.Fstatat(a.fd(), a.Name, (*unix.Stat_t)(unsafe.Pointer(st)), AtNoFollow|AtEmptyPath)
	})
}

// again repeats what a signal has interrupted.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// Mknod is mknod(2).
func (a At) Mknod(mode, rdev uint32) error {
	defer a.done()
	return again(func() error { return unix.Mknodat(a.fd(), a.Name, mode, int(rdev)) })
}

// Mkdir is mkdir(2).
func (a At) Mkdir(mode uint32) error {
	defer a.done()
	return again(func() error { return unix.Mkdirat(a.fd(), a.Name, mode) })
}

// Unlink is unlink(2), or rmdir(2).
func (a At) Unlink(dir bool) error {
	defer a.done()
	flags := 0
	if dir {
		flags = unix.AT_REMOVEDIR
	}
	return again(func() error { return unix.Unlinkat(a.fd(), a.Name, flags) })
}

// Symlink is symlink(2).
func (a At) Symlink(target string) error {
	defer a.done()
	return again(func() error { return unix.Symlinkat(target, a.fd(), a.Name) })
}

// Rename is renameat2(2).
func (a At) Rename(to At, flags uint32) error {
	defer a.done()
	defer to.done()
	return again(func() error { return unix.Renameat2(a.fd(), a.Name, to.fd(), to.Name, uint(flags)) })
}

// Link is link(2).
func (a At) Link(to At) error {
	defer a.done()
	defer to.done()
	return again(func() error { return unix.Linkat(a.fd(), a.Name, to.fd(), to.Name, 0) })
}

// Open is open(2) of the name itself, not of what a symlink leads to.
func (a At) Open(flags int, mode uint32) (*os.File, error) {
	defer a.done()
	name := a.Name
	if name == "" {
		name = "."
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(a.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Chmod is chmod(2); EOPNOTSUPP for a symlink.
func (a At) Chmod(mode uint32) error {
	defer a.done()
	if a.Name == "" {
		return again(func() error { return unix.Chmod(a.proc(), mode) })
	}
	// fchmodat2 is newer than the oldest kernels, and fchmod does not take O_PATH: a descriptor in /proc does both.
	f, err := a.Open(unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st syscall.Stat_t
	if err := (At{Dir: f}).Lstat(&st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return again(func() error { return unix.Chmod(At{Dir: f}.proc(), mode) })
}

// Chown is lchown(2).
func (a At) Chown(uid, gid uint32) error {
	defer a.done()
	return again(func() error {
		return unix.Fchownat(a.fd(), a.Name, int(int32(uid)), int(int32(gid)), AtNoFollow|AtEmptyPath)
	})
}

// Utimens is utimensat(2); the nanoseconds may be UTIME_NOW and UTIME_OMIT.
func (a At) Utimens(asec int64, ansec uint32, msec int64, mnsec uint32) error {
	defer a.done()
	ts := []unix.Timespec{timespec(asec, ansec), timespec(msec, mnsec)}
	if a.Name == "" {
		return again(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, a.proc(), ts, 0) })
	}
	return again(func() error { return unix.UtimesNanoAt(a.fd(), a.Name, ts, AtNoFollow) })
}

// timespec keeps UTIME_NOW and UTIME_OMIT, and on 32 bits cuts the seconds.
func timespec(sec int64, nsec uint32) (ts unix.Timespec) {
	put(&ts.Sec, sec)
	put(&ts.Nsec, int64(nsec))
	return ts
}

func put[T int32 | int64](p *T, v int64) { *p = T(v) }

// Readlink is readlink(2).
func (a At) Readlink() (string, error) {
	defer a.done()
	buf := make([]byte, 4096)
	var n int
	err := again(func() (err error) { n, err = unix.Readlinkat(a.fd(), a.Name, buf); return err })
	return string(buf[:max(n, 0)]), err
}

// Access is access(2) with the effective ids.
func (a At) Access(mask uint32) error {
	defer a.done()
	return again(func() error { return unix.Faccessat(a.fd(), a.Name, mask, AtNoFollow|AtEmptyPath|unix.AT_EACCESS) })
}

// Truncate is truncate(2).
func (a At) Truncate(size int64) error {
	defer a.done()
	f, err := a.Open(unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return again(func() error { return unix.Ftruncate(int(f.Fd()), size) })
}

// Setxattr is lsetxattr(2).
func (a At) Setxattr(name string, value []byte, flags int) error {
	defer a.done()
	set := unix.Lsetxattr
	if a.Name == "" { // the descriptor in /proc is itself a link
		set = unix.Setxattr
	}
	return again(func() error { return set(a.proc(), name, value, flags) })
}

// Getxattr is lgetxattr(2).
func (a At) Getxattr(name string, dst []byte) (n int, err error) {
	defer a.done()
	get := unix.Lgetxattr
	if a.Name == "" {
		get = unix.Getxattr
	}
	err = again(func() error { n, err = get(a.proc(), name, dst); return err })
	return n, err
}

// Listxattr is llistxattr(2).
func (a At) Listxattr(dst []byte) (n int, err error) {
	defer a.done()
	list := unix.Llistxattr
	if a.Name == "" {
		list = unix.Listxattr
	}
	err = again(func() error { n, err = list(a.proc(), dst); return err })
	return n, err
}

// Removexattr is lremovexattr(2).
func (a At) Removexattr(name string) error {
	defer a.done()
	remove := unix.Lremovexattr
	if a.Name == "" {
		remove = unix.Removexattr
	}
	return again(func() error { return remove(a.proc(), name) })
}

// Statx is statx(2) of the name itself.
func (a At) Statx(mask uint32, stx *Statx) error {
	defer a.done()
	return again(func() error { return unix.Statx(a.fd(), a.Name, AtNoFollow|AtEmptyPath, int(mask), stx) })
}

// Dirent is an entry of a directory.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8 // DT_
	Next int64 // where the listing goes on behind it
}

// ReadDir reads some more entries of a directory, without "." and ".."; none at its end.
func ReadDir(dir *os.File) (list []Dirent, err error) {
	defer runtime.KeepAlive(dir)
	buf := make([]byte, 32<<10)
	for len(list) == 0 {
		n := 0
		err := again(func() (err error) { n, err = Getdents(int(dir.Fd()), buf); return err })
		if err != nil || n == 0 {
			return nil, err
		}
		for e := range Dirents(buf[:n]) {
			if e.Name != "." && e.Name != ".." {
				list = append(list, e)
			}
		}
	}
	return list, nil
}

// Dirents iterates over the records that Getdents has read: inode and offset of 8 bytes, length of 2, type, name with its NUL.
func Dirents(b []byte) iter.Seq[Dirent] {
	return func(yield func(Dirent) bool) {
		const header = 19
		for len(b) > header {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size <= header || size > len(b) {
				return
			}
			name, _, _ := bytes.Cut(b[header:size], []byte{0})
			e := Dirent{string(name), binary.NativeEndian.Uint64(b), b[18], int64(binary.NativeEndian.Uint64(b[8:]))}
			if e.Name != "" && !yield(e) {
				return
			}
			b = b[size:]
		}
	}
}
