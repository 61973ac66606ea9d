//go:build linux

package sys

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// Rename2 is renameat2(2) with paths.
func Rename2(from, to string, flags uint32) error {
	_, err := retry(func() (int, error) { return 0, unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, uint(flags)) })
	return err
}

// Dirent is one record of getdents64(2).
type Dirent struct {
	Ino  uint64
	Off  int64
	Type uint8
	Name []byte
}

// Dirents iterates over what Getdents has read.
func Dirents(b []byte) iter.Seq[Dirent] {
	return func(yield func(Dirent) bool) {
		const header = 19
		for len(b) > header {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size <= header || size > len(b) {
				return
			}
			name, _, _ := bytes.Cut(b[header:size], []byte{0})
			d := Dirent{binary.NativeEndian.Uint64(b), int64(binary.NativeEndian.Uint64(b[8:])), b[18], name}
			if !yield(d) {
				return
			}
			b = b[size:]
		}
	}
}
