//go:build linux

// Ioctl_client asks the server ioctl for the size of its file, or sets it.
//
//	ioctl_client <mountpoint>/fioc [size]
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/examples/internal/fioc"
	"github.com/purefuse/purefuse/internal/sys"
)

const usage = `Usage: fioclient FIOC_FILE [size]

Get size if <size> is omitted, set size otherwise

`

func main() { os.Exit(run(os.Args)) }

func run(argv []string) int {
	if len(argv) < 2 {
		fmt.Fprint(os.Stderr, usage)
		return 1
	}
	fd, err := syscall.Open(argv[1], syscall.O_RDWR, 0)
	if err != nil {
		return fail("open", err)
	}
	defer syscall.Close(fd)
	if len(argv) == 2 {
		var size uintptr // C's size_t
		if _, err := sys.IoctlPtr(fd, fioc.GetSize, &size); err != nil {
			return fail("ioctl", err)
		}
		fmt.Println(size)
		return 0
	}
	n, err := strconv.ParseUint(argv[2], 0, strconv.IntSize)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	size := uintptr(n)
	if _, err := sys.IoctlPtr(fd, fioc.SetSize, &size); err != nil {
		return fail("ioctl", err)
	}
	return 0
}

func fail(what string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s\n", what, compat.Strerror(err))
	return 1
}
