//go:build linux

package sys

import (
	"iter"

	"golang.org/x/sys/unix"
)

// Rename2 is renameat2(2) with paths.
func Rename2(from, to string, flags uint32) error {
	_, err := retry(func() (int, error) { return 0, unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, uint(flags)) })
	return err
}

// DirOffsets iterates over the names in what Getdents has read, with the offset at which the listing goes on after each.
func DirOffsets(b []byte) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for e := range Dirents(b) {
			if !yield(e.Name, e.Next) {
				return
			}
		}
	}
}
