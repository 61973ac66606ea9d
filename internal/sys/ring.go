//go:build linux

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// PinThread lets the calling thread run on one CPU only.
func PinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if !set.IsSet(cpu) {
		return unix.EINVAL
	}
	return unix.SchedSetaffinity(0, &set)
}

// Wall frees the memory behind b, which Map returned, and makes every access to it fail, the kernel's too. The addresses
// stay taken: whoever still writes there hits nothing else.
func Wall(b []byte) error {
	unix.Madvise(b, unix.MADV_DONTNEED)
	return unix.Mprotect(b, unix.PROT_NONE)
}

// Overlaps reports whether a and b have a byte of memory in common.
func Overlaps(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	x, y := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return x < y+uintptr(len(b)) && y < x+uintptr(len(a))
}
