//go:build linux

package lowlevel

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/purefuse/purefuse/wire"
)

// SecCtx lists the security contexts that the new inode of a creating request is to have, as names and values, borrowed. It
// needs CapSecurityCtx. What cannot be parsed ends the list.
func (r Req) SecCtx() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for ext, err := range wire.Extensions(r.p.ext) {
			if err != nil {
				return
			}
			for c := range ext.SecurityContexts() {
				if !yield(string(c.Name), c.Value) {
					return
				}
			}
		}
	}
}

// ParentGroup is the parent directory's group in a creating request whose caller is in that group only by a supplementary
// one, so that a set-group-ID directory can hand its group down. It needs CapCreateSuppGroup.
func (r Req) ParentGroup() (gid uint32, ok bool) {
	for ext, err := range wire.Extensions(r.p.ext) {
		if err != nil {
			break
		}
		for gid := range ext.Groups() {
			return gid, true
		}
	}
	return 0, false
}

// Groups appends the caller's supplementary groups to dst: all of them, as /proc tells. It fails with EIO if the caller
// cannot be seen there.
func (r Req) Groups(dst []uint32) ([]uint32, error) {
	pid := r.p.h.PID
	if pid == 0 {
		return dst, syscall.EIO
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/task/%d/status", pid, pid))
	if err != nil {
		return dst, fmt.Errorf("fuse: groups of %d: %w", pid, errors.Join(syscall.EIO, err))
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		list, ok := strings.CutPrefix(sc.Text(), "Groups:")
		if !ok {
			continue
		}
		for _, g := range strings.Fields(list) {
			n, err := strconv.ParseUint(g, 10, 32)
			if err != nil {
				return dst, syscall.EIO
			}
			dst = append(dst, uint32(n))
		}
		return dst, nil
	}
	return dst, syscall.EIO
}

// errnoText is the C library's text of an errno: Go's, with a capital.
func errnoText(e Errno) string {
	text := e.Error()
	c, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(c)) + text[n:]
}
