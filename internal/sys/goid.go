//go:build linux

package sys

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
)

// GoroutineID is the number of the calling goroutine as stack dumps show it; for debugging only, and slow.
func GoroutineID() int64 {
	var buf [64]byte
	b := buf[:runtime.Stack(buf[:], false)]
	b = bytes.TrimPrefix(b, []byte("goroutine "))
	b, _, _ = bytes.Cut(b, []byte(" "))
	id, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// GoroutineStack is the stack of a goroutine in the form of a stack dump, "" if there is none of that number. It stops the
// world.
func GoroutineStack(id int64) string {
	for size := 1 << 20; ; size *= 2 {
		b := make([]byte, size)
		if b = b[:runtime.Stack(b, true)]; len(b) == size && size < 64<<20 {
			continue // cut off
		}
		head := fmt.Appendf(nil, "goroutine %d ", id)
		for len(b) > 0 {
			var one []byte
			if one, b, _ = bytes.Cut(b, []byte("\n\n")); bytes.HasPrefix(one, head) {
				return string(one)
			}
		}
		return ""
	}
}
