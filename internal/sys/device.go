//go:build linux

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// IoctlPtr is ioctl(2) with a pointer, retried on EINTR.
func IoctlPtr[T any](fd int, req uint32, arg *T) (int, error) {
	for {
		n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(arg)))
		if e != unix.EINTR {
			return result(n, e)
		}
	}
}

// Close is close(2).
func Close(fd int) error { return unix.Close(fd) }
