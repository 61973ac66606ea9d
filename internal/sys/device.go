//go:build linux

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenDevice opens a FUSE device in blocking mode, out of reach of the Go poller.
func OpenDevice(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// IoctlPtr is ioctl(2) with a pointer, retried on EINTR.
func IoctlPtr[T any](fd int, req uint32, arg *T) (int, error) {
	for {
		n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(arg)))
		if e != unix.EINTR {
			return result(n, e)
		}
	}
}

// Blocking puts fd into blocking mode.
func Blocking(fd int) error { return unix.SetNonblock(fd, false) }

// Dup duplicates fd, close-on-exec.
func Dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// Close is close(2).
func Close(fd int) error { return unix.Close(fd) }

// EventFD returns a close-on-exec, blocking eventfd.
func EventFD() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) }

// Signal adds one to an eventfd.
func Signal(fd int) error {
	one := uint64(1)
	_, err := Write(fd, Bytes(&one))
	return err
}
