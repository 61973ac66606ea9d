//go:build linux

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVec is how many buffers Writev takes beside the head without allocating.
const maxVec = 7

// smallWrite is the size up to which a reply holds on to its P: the copy is then shorter than the handover.
const smallWrite = 64 << 10

// Read is read(2).
func Read(fd int, p []byte) (int, error) {
	n, _, e := unix.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return result(n, e)
}

// Writev writes head and parts with one system call. mayBlock must be set for writes that can wait in the kernel.
func Writev(fd int, head []byte, parts [][]byte, mayBlock bool) (int, error) {
	total := len(head)
	for _, b := range parts {
		total += len(b)
	}
	raw := !mayBlock && total <= smallWrite
	var n uintptr
	var e unix.Errno
	if total == len(head) {
		p := unsafe.Pointer(unsafe.SliceData(head))
		if raw {
			n, _, e = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(p), uintptr(len(head)))
		} else {
			n, _, e = unix.Syscall(unix.SYS_WRITE, uintptr(fd), uintptr(p), uintptr(len(head)))
		}
		return result(n, e)
	}
	var fixed [maxVec + 1]unix.Iovec
	vec := fixed[:0]
	if len(parts) > maxVec {
		vec = make([]unix.Iovec, 0, len(parts)+1)
	}
	vec = appendVec(vec, head)
	for _, b := range parts {
		vec = appendVec(vec, b)
	}
	p := unsafe.Pointer(unsafe.SliceData(vec))
	if raw {
		n, _, e = unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(p), uintptr(len(vec)))
	} else {
		n, _, e = unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(p), uintptr(len(vec)))
	}
	return result(n, e)
}

func appendVec(vec []unix.Iovec, b []byte) []unix.Iovec {
	if len(b) == 0 {
		return vec
	}
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	return append(vec, v)
}

func result(n uintptr, e unix.Errno) (int, error) {
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// Pread is pread(2), retried on EINTR.
func Pread(fd int, p []byte, off int64) (int, error) {
	return retry(func() (int, error) { return unix.Pread(fd, p, off) })
}

// Pwrite is pwrite(2), retried on EINTR.
func Pwrite(fd int, p []byte, off int64) (int, error) {
	return retry(func() (int, error) { return unix.Pwrite(fd, p, off) })
}

// Write is write(2), retried on EINTR.
func Write(fd int, p []byte) (int, error) {
	return retry(func() (int, error) { return unix.Write(fd, p) })
}

// Flags of Splice.
const (
	SpliceMove     = unix.SPLICE_F_MOVE
	SpliceNonblock = unix.SPLICE_F_NONBLOCK
)

// Splice is splice(2); nil offsets use and move the descriptors' own.
func Splice(in int, inOff *int64, out int, outOff *int64, n, flags int) (int, error) {
	m, err := unix.Splice(in, inOff, out, outOff, n, flags)
	return int(m), err
}

// WaitRead waits until fd can be read or has failed, or until stop can be read; stop < 0 is never.
func WaitRead(fd, stop int) (readable, stopped bool, err error) {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
	for {
		switch _, err := unix.Poll(set, -1); err {
		case nil:
			return set[0].Revents != 0, set[1].Revents != 0, nil
		case unix.EINTR:
		default:
			return false, false, err
		}
	}
}

// Errno is the errno that err is, or fallback.
func Errno(err error, fallback syscall.Errno) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return fallback
}
