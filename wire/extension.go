//go:build linux

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// extHeaderSize is the size of ExtHeader, SecctxHeader and Secctx alike.
const extHeaderSize = 8

// Extension is one record of the extension area, the last InHeader.TotalExtLen*8 bytes of a CREATE, TMPFILE, MKNOD, MKDIR or
// SYMLINK.
type Extension struct {
	// Type is the record's second word: up to MaxNrSecctx it is the number of security contexts, which may be 0; ExtGroups
	// is a record of supplementary groups; nothing is known about other types.
	Type uint32
	// Body is what follows the header up to the next record, borrowed from the area and not aligned.
	Body []byte
}

// SecurityContext is a label that a new file is to get from the start (InitSecurityCtx).
type SecurityContext struct {
	Name  []byte // the xattr's name; borrowed
	Value []byte // borrowed
}

// Extensions iterates over the records of an extension area. A record is checked whole before it is handed out: its size, every
// security context's name and value, the number of groups. A malformed record is the last pair, with an error.
func Extensions(b []byte) iter.Seq2[Extension, error] {
	return func(yield func(Extension, error) bool) {
		for pos := 0; pos < len(b); {
			e, size, err := decodeExtension(b[pos:])
			if err != nil {
				yield(Extension{}, fmt.Errorf("extension at byte %d: %w", pos, err))
				return
			}
			if !yield(e, nil) {
				return
			}
			pos += size
		}
	}
}

func decodeExtension(b []byte) (e Extension, size int, err error) {
	if len(b) < extHeaderSize {
		return e, 0, ErrShortRecord
	}
	n := binary.NativeEndian.Uint32(b)
	if n < extHeaderSize {
		return e, 0, fmt.Errorf("size %d", n)
	}
	// The next record starts aligned, so the padding counts as part of this one.
	padded := (uint64(n) + 7) &^ 7
	if padded > uint64(len(b)) {
		return e, 0, ErrShortRecord
	}
	size = int(padded)
	e = Extension{Type: binary.NativeEndian.Uint32(b[4:]), Body: b[extHeaderSize:size:size]}
	switch {
	case e.Type <= MaxNrSecctx:
		rest := e.Body
		for i := range e.Type {
			if _, rest, err = cutSecurityContext(rest); err != nil {
				return e, 0, fmt.Errorf("security context %d: %w", i, err)
			}
		}
	case e.Type == ExtGroups:
		if len(e.Body) < 4 {
			return e, 0, ErrShortRecord
		}
		if nr := binary.NativeEndian.Uint32(e.Body); uint64(nr) > uint64(len(e.Body)-4)/4 {
			return e, 0, fmt.Errorf("%d groups in %d bytes", nr, len(e.Body))
		}
	}
	return e, size, nil
}

// cutSecurityContext reads the context at the start of b and returns what follows its padding.
func cutSecurityContext(b []byte) (c SecurityContext, rest []byte, err error) {
	if len(b) < extHeaderSize {
		return c, nil, ErrShortRecord
	}
	size := uint64(binary.NativeEndian.Uint32(b))
	nul := bytes.IndexByte(b[extHeaderSize:], 0)
	switch {
	case nul < 0:
		return c, nil, errors.New("name has no end")
	case nul == 0:
		return c, nil, errors.New("empty name")
	}
	value := extHeaderSize + nul + 1
	if size > uint64(len(b)-value) {
		return c, nil, ErrShortRecord
	}
	end := value + int(size)
	c = SecurityContext{Name: b[extHeaderSize : value-1 : value-1], Value: b[value:end:end]}
	return c, b[min(recAlign(end), len(b)):], nil
}

// SecurityContexts iterates over the labels of a record that Extensions handed out; other types of record have none.
func (e Extension) SecurityContexts() iter.Seq[SecurityContext] {
	return func(yield func(SecurityContext) bool) {
		if e.Type > MaxNrSecctx {
			return
		}
		rest := e.Body
		for range e.Type {
			var (
				c   SecurityContext
				err error
			)
			if c, rest, err = cutSecurityContext(rest); err != nil || !yield(c) {
				return
			}
		}
	}
}

// Groups iterates over the group ids of a record that Extensions handed out; other types of record have none. The kernel sends
// one at most: the parent directory's group, if the caller is in it by a supplementary group and it is not the caller's own.
func (e Extension) Groups() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if e.Type != ExtGroups || len(e.Body) < 4 {
			return
		}
		gids := e.Body[4:]
		for range min(uint64(binary.NativeEndian.Uint32(e.Body)), uint64(len(gids)/4)) {
			if !yield(binary.NativeEndian.Uint32(gids)) {
				return
			}
			gids = gids[4:]
		}
	}
}

// AppendSecurityContexts appends one record with the labels, at most MaxNrSecctx, to an extension area; without any it is the
// bare header that a kernel without labels sends.
func AppendSecurityContexts(b []byte, contexts ...SecurityContext) []byte {
	size := extHeaderSize
	for _, c := range contexts {
		size += recAlign(extHeaderSize + len(c.Name) + 1 + len(c.Value))
	}
	ne := binary.NativeEndian
	b = ne.AppendUint32(b, uint32(size))
	b = ne.AppendUint32(b, uint32(len(contexts)))
	for _, c := range contexts {
		n := extHeaderSize + len(c.Name) + 1 + len(c.Value)
		b = ne.AppendUint32(b, uint32(len(c.Value)))
		b = ne.AppendUint32(b, 0)
		b = append(append(b, c.Name...), 0)
		b = append(b, c.Value...)
		b = appendZeros(b, recAlign(n)-n)
	}
	return b
}

// AppendGroups appends one record with supplementary groups to an extension area.
func AppendGroups(b []byte, gids ...uint32) []byte {
	n := extHeaderSize + 4 + 4*len(gids)
	size, ne := recAlign(n), binary.NativeEndian
	b = ne.AppendUint32(b, uint32(size))
	b = ne.AppendUint32(b, ExtGroups)
	b = ne.AppendUint32(b, uint32(len(gids)))
	for _, g := range gids {
		b = ne.AppendUint32(b, g)
	}
	return appendZeros(b, size-n)
}
