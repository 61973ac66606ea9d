//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// PageSize is the machine's page size.
var PageSize = os.Getpagesize()

// Map returns n bytes of zeroed, page-aligned memory outside the Go heap.
func Map(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
}

// Unmap gives back what Map returned.
func Unmap(b []byte) error { return unix.Munmap(b) }
