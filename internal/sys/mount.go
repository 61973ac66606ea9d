//go:build linux

package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Flags of mount(2) and umount2(2).
const (
	MS_RDONLY      = unix.MS_RDONLY
	MS_NOSUID      = unix.MS_NOSUID
	MS_NODEV       = unix.MS_NODEV
	MS_NOEXEC      = unix.MS_NOEXEC
	MS_SYNCHRONOUS = unix.MS_SYNCHRONOUS
	MS_DIRSYNC     = unix.MS_DIRSYNC
	MS_NOATIME     = unix.MS_NOATIME
	MS_NODIRATIME  = unix.MS_NODIRATIME
	MS_STRICTATIME = unix.MS_STRICTATIME
	MS_NOSYMFOLLOW = unix.MS_NOSYMFOLLOW

	MNT_FORCE       = unix.MNT_FORCE
	MNT_DETACH      = unix.MNT_DETACH
	UMOUNT_NOFOLLOW = unix.UMOUNT_NOFOLLOW
)

// Attributes of fsmount(2).
const (
	MOUNT_ATTR_RDONLY      = unix.MOUNT_ATTR_RDONLY
	MOUNT_ATTR_NOSUID      = unix.MOUNT_ATTR_NOSUID
	MOUNT_ATTR_NODEV       = unix.MOUNT_ATTR_NODEV
	MOUNT_ATTR_NOEXEC      = unix.MOUNT_ATTR_NOEXEC
	MOUNT_ATTR_NOATIME     = unix.MOUNT_ATTR_NOATIME
	MOUNT_ATTR_STRICTATIME = unix.MOUNT_ATTR_STRICTATIME
	MOUNT_ATTR_NODIRATIME  = unix.MOUNT_ATTR_NODIRATIME
	MOUNT_ATTR_NOSYMFOLLOW = unix.MOUNT_ATTR_NOSYMFOLLOW
)

// ENOPARAM is the kernel's internal "no such parameter", which some file systems let through to fsconfig(2).
const ENOPARAM = unix.Errno(519)

// Open opens path with flags and O_CLOEXEC. The file stays in blocking mode, so the runtime's poller never learns of it.
func Open(path string, flags int) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenDevice opens a FUSE device for reading and writing.
func OpenDevice(path string) (*os.File, error) { return Open(path, unix.O_RDWR) }

// OpenPath opens path as a bare location (O_PATH): no permission on the object is needed and its file system is asked nothing.
func OpenPath(path string, nofollow bool) (*os.File, error) {
	flags := unix.O_PATH
	if nofollow {
		flags |= unix.O_NOFOLLOW
	}
	return Open(path, flags)
}

func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err != unix.EINTR {
			return v, err
		}
	}
}

const devIocSyncInit = 0xe503 // FUSE_DEV_IOC_SYNC_INIT, _IO(229, 3)

// SyncInit makes the mount call that will attach dev wait for FUSE_INIT. ENOTTY: the kernel is older than 6.18.
func SyncInit(dev *os.File) error {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), devIocSyncInit, 0)
	if e != 0 {
		return e
	}
	return nil
}

// Fsopen starts a new superblock configuration.
func Fsopen(fstype string) (fs *os.File, err error) {
	fd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "fsopen:"+fstype), nil
}

// FsconfigFlag sets a parameter without value.
func FsconfigFlag(fs *os.File, key string) error { return unix.FsconfigSetFlag(int(fs.Fd()), key) }

// FsconfigString sets a parameter to a string.
func FsconfigString(fs *os.File, key, value string) error {
	return unix.FsconfigSetString(int(fs.Fd()), key, value)
}

// FsconfigCreate makes the superblock; with synchronous FUSE_INIT it returns after the server has answered.
func FsconfigCreate(fs *os.File) error { return unix.FsconfigCreate(int(fs.Fd())) }

// Fsmount makes a mount, not yet attached to any directory, of the superblock that fs has created.
func Fsmount(fs *os.File, attrs int) (mnt *os.File, err error) {
	fd, err := unix.Fsmount(int(fs.Fd()), unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "fsmount"), nil
}

// MoveMount attaches the mount that mnt holds to a path.
func MoveMount(mnt *os.File, path string) error {
	return unix.MoveMount(int(mnt.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
}

// FsLog takes the messages that the kernel left in the configuration: "e …" errors, "w …" warnings, "i …" information.
func FsLog(fs *os.File) (lines []string) {
	buf := make([]byte, 4096)
	for {
		n, err := retry(func() (int, error) { return unix.Read(int(fs.Fd()), buf) })
		if err != nil || n <= 0 {
			return lines // ENODATA: no more
		}
		lines = append(lines, strings.TrimSpace(string(buf[:n])))
	}
}

// Mount is mount(2).
func Mount(source, target, fstype string, flags uintptr, data string) error {
	return unix.Mount(source, target, fstype, flags, data)
}

// Unmount is umount2(2).
func Unmount(target string, flags int) error { return unix.Unmount(target, flags) }

// MountID names a mount: ID is the number in mountinfo, which is used again later; Unique (0 when the kernel is older
// than 6.8) never is. Major and Minor are st_dev.
type MountID struct {
	ID, Unique   uint64
	Major, Minor uint32
}

// Conn is the number under which fusectl lists the connection of a FUSE mount with this device number.
func (m MountID) Conn() uint32 { return m.Major<<20 | m.Minor }

// IdentifyMount tells on which mount f lies. The file system is never asked: AT_STATX_DONT_SYNC keeps FUSE from
// sending GETATTR, and an empty mask gets past FUSE's refusal of other users.
func IdentifyMount(f *os.File) (MountID, error) {
	const flags = unix.AT_EMPTY_PATH | unix.AT_STATX_DONT_SYNC
	var st unix.Statx_t
	fd := int(f.Fd())
	if err := unix.Statx(fd, "", flags, 0, &st); err != nil {
		return MountID{}, fmt.Errorf("statx: %w", err)
	}
	id := MountID{ID: st.Mnt_id, Major: st.Dev_major, Minor: st.Dev_minor}
	if st.Mask&unix.STATX_MNT_ID == 0 { // before 5.8
		n, err := fdinfo(fd, "mnt_id")
		if err != nil {
			return MountID{}, err
		}
		id.ID = n
	}
	var u unix.Statx_t
	if unix.Statx(fd, "", flags, unix.STATX_MNT_ID_UNIQUE, &u) == nil && u.Mask&unix.STATX_MNT_ID_UNIQUE != 0 {
		id.Unique = u.Mnt_id
	}
	return id, nil
}

// TypeOf is the file type (S_IFMT bits) of what path names. Unlike IdentifyMount it may ask the file system.
func TypeOf(path string) (uint32, error) {
	var st unix.Statx_t
	_, err := retry(func() (int, error) { return 0, unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE, &st) })
	return uint32(st.Mode) & unix.S_IFMT, err
}

// The file types that a mount point can have.
const (
	S_IFDIR = unix.S_IFDIR
	S_IFREG = unix.S_IFREG
	S_IFCHR = unix.S_IFCHR
)

// DeviceConn is the fusectl number of the connection that dev serves, from the fuse_connection line of its fdinfo;
// ok is false on kernels that do not tell and for a device that is not attached.
func DeviceConn(dev *os.File) (conn uint32, ok bool) {
	n, err := fdinfo(int(dev.Fd()), "fuse_connection")
	return uint32(n), err == nil
}

func fdinfo(fd int, key string) (uint64, error) {
	b, err := os.ReadFile("/proc/thread-self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		k, v, ok := strings.Cut(string(line), ":")
		if ok && k == key {
			return strconv.ParseUint(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, errors.New("fdinfo has no " + key)
}

// FdPath is the name under which the kernel resolves f without walking a path.
func FdPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// OpenAt opens name below dir.
func OpenAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(int(dir.Fd()), name, flags|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// IsFusectl reports whether f lies on fusectl.
func IsFusectl(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == 0x65735543 // FUSE_CTL_SUPER_MAGIC
}

// Poll waits until one of the descriptors has an event or for timeout milliseconds (-1: for ever), and returns the
// events seen on each. Asking for no event still reports POLLERR, POLLHUP and POLLNVAL.
func Poll(timeout int, fds ...PollFd) ([]int16, error) {
	p := make([]unix.PollFd, len(fds))
	for i, f := range fds {
		p[i] = unix.PollFd{Fd: int32(f.Fd), Events: f.Events}
	}
	_, err := unix.Poll(p, timeout)
	r := make([]int16, len(fds))
	for i := range p {
		r[i] = p[i].Revents
	}
	return r, err
}

// PollFd is one descriptor for Poll.
type PollFd struct {
	Fd     uintptr
	Events int16
}

// Events of Poll.
const (
	POLLIN   = unix.POLLIN
	POLLERR  = unix.POLLERR
	POLLHUP  = unix.POLLHUP
	POLLNVAL = unix.POLLNVAL
)
