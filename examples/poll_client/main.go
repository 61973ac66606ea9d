//go:build linux

// Poll_client waits with select(2) for the files of the server poll, in the current directory, and prints how many bytes it
// then reads from each. It ends after 16 rounds.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/compat"
)

const digits = "0123456789ABCDEF"

func main() { os.Exit(run()) }

func run() int {
	var fds []int
	for _, name := range digits {
		// Not os.Open: Go's runtime would wait for the file, too.
		fd, err := syscall.Open(string(name), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return fail("open", err)
		}
		defer syscall.Close(fd)
		fds = append(fds, fd)
	}
	buf := make([]byte, 4096)
	for range 16 {
		var set syscall.FdSet
		for _, fd := range fds {
			set.Bits[fd/strconv.IntSize] |= 1 << (fd % strconv.IntSize)
		}
		for {
			_, err := syscall.Select(fds[len(fds)-1]+1, &set, nil, nil, nil)
			if err == nil {
				break
			}
			if err != syscall.EINTR {
				return fail("select", err)
			}
		}
		var line strings.Builder
		for i, fd := range fds {
			if set.Bits[fd/strconv.IntSize]&(1<<(fd%strconv.IntSize)) == 0 {
				line.WriteString("_:   ")
				continue
			}
			n, err := syscall.Read(fd, buf)
			if err != nil {
				return fail("read", err)
			}
			fmt.Fprintf(&line, "%X:%02d ", i, n)
		}
		fmt.Println(line.String())
	}
	return 0
}

func fail(what string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s\n", what, compat.Strerror(err))
	return 1
}
