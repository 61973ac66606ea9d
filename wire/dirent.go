//go:build linux

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Where the name starts in a directory record.
const (
	NameOffset           = 24
	NameOffsetDirentplus = 152
)

// ErrShortRecord says that a buffer ends inside a record. The kernel ignores such an end of a READDIR or READDIRPLUS answer,
// and reads the directory on from the last whole record.
var ErrShortRecord = errors.New("record is cut off")

// DirentSize returns how many bytes a directory record with a name of namelen bytes takes.
func DirentSize(namelen int) int { return recAlign(NameOffset + namelen) }

// DirentplusSize returns how many bytes a READDIRPLUS record with a name of namelen bytes takes.
func DirentplusSize(namelen int) int { return recAlign(NameOffsetDirentplus + namelen) }

func recAlign(n int) int { return (n + 7) &^ 7 }

// AppendDirent appends one record of a READDIR answer to b and returns the longer slice. Of d, NameLen is ignored. Off is the
// cookie that continues after this entry, Type one of the DT_ constants (the file type bits of a mode, shifted right by 12).
func AppendDirent[S ~string | ~[]byte](b []byte, d *Dirent, name S) []byte {
	size := DirentSize(len(name))
	b = slices.Grow(b, size)
	end := len(b) + size
	b = appendDirentHeader(b, d, len(name))
	b = append(b, name...)
	return appendZeros(b, end-len(b))
}

// AppendDirentplus appends one record of a READDIRPLUS answer to b and returns the longer slice; see AppendDirent. An entry
// with nodeid 0 says that nothing is known about the file but its name; every other entry, save "." and "..", counts as a
// lookup.
func AppendDirentplus[S ~string | ~[]byte](b []byte, e *EntryOut, d *Dirent, name S) []byte {
	size := DirentplusSize(len(name))
	b = slices.Grow(b, size)
	end := len(b) + size
	b = appendEntryOut(b, e)
	b = appendDirentHeader(b, d, len(name))
	b = append(b, name...)
	return appendZeros(b, end-len(b))
}

// DirentRecord is one entry of a READDIR answer.
type DirentRecord struct {
	Dirent
	Name []byte // borrowed from the answer, never empty, without a slash
}

// DirentplusRecord is one entry of a READDIRPLUS answer.
type DirentplusRecord struct {
	Entry EntryOut
	DirentRecord
}

// Dirents iterates over the records of a READDIR answer. It holds them to the kernel's rules: a name has 1 to NameMax bytes
// and no slash (or the kernel fails the whole READDIR with EIO). A malformed record is the last pair, with an error; an answer
// that ends inside a record gives ErrShortRecord.
func Dirents(b []byte) iter.Seq2[DirentRecord, error] {
	return func(yield func(DirentRecord, error) bool) {
		for pos := 0; pos < len(b); {
			r, size, err := decodeDirent(b[pos:], 0)
			if err != nil {
				yield(DirentRecord{}, fmt.Errorf("directory record at byte %d: %w", pos, err))
				return
			}
			if !yield(r, nil) {
				return
			}
			pos += size
		}
	}
}

// Direntpluses iterates over the records of a READDIRPLUS answer by the rules of Dirents.
func Direntpluses(b []byte) iter.Seq2[DirentplusRecord, error] {
	return func(yield func(DirentplusRecord, error) bool) {
		for pos := 0; pos < len(b); {
			d, size, err := decodeDirent(b[pos:], NameOffsetDirentplus-NameOffset)
			if err != nil {
				yield(DirentplusRecord{}, fmt.Errorf("directory record at byte %d: %w", pos, err))
				return
			}
			if !yield(DirentplusRecord{decodeEntryOut(b[pos:]), d}, nil) {
				return
			}
			pos += size
		}
	}
}

// decodeDirent reads the record at the start of b, whose dirent starts at byte skip, and returns the record's size.
func decodeDirent(b []byte, skip int) (r DirentRecord, size int, err error) {
	nameOff := skip + NameOffset
	if len(b) < nameOff {
		return r, 0, ErrShortRecord
	}
	ne, h := binary.NativeEndian, b[skip:]
	r.Ino, r.Off, r.NameLen, r.Type = ne.Uint64(h), ne.Uint64(h[8:]), ne.Uint32(h[16:]), ne.Uint32(h[20:])
	if r.NameLen == 0 || r.NameLen > NameMax {
		return r, 0, fmt.Errorf("name of %d bytes", r.NameLen)
	}
	n := int(r.NameLen)
	size = recAlign(nameOff + n)
	if len(b) < size {
		return r, 0, ErrShortRecord
	}
	r.Name = b[nameOff : nameOff+n : nameOff+n]
	if bytes.IndexByte(r.Name, '/') >= 0 {
		return r, 0, fmt.Errorf("name %q has a slash", r.Name)
	}
	return r, size, nil
}

func appendZeros(b []byte, n int) []byte {
	var zero [8]byte
	return append(b, zero[:n]...)
}

func appendDirentHeader(b []byte, d *Dirent, namelen int) []byte {
	ne := binary.NativeEndian
	b = ne.AppendUint64(b, d.Ino)
	b = ne.AppendUint64(b, d.Off)
	b = ne.AppendUint32(b, uint32(namelen))
	return ne.AppendUint32(b, d.Type)
}

func appendEntryOut(b []byte, e *EntryOut) []byte {
	ne, a := binary.NativeEndian, &e.Attr
	for _, v := range [...]uint64{e.NodeID, e.Generation, e.EntryValid, e.AttrValid} {
		b = ne.AppendUint64(b, v)
	}
	b = ne.AppendUint32(b, e.EntryValidNsec)
	b = ne.AppendUint32(b, e.AttrValidNsec)
	for _, v := range [...]uint64{a.Ino, a.Size, a.Blocks, a.Atime, a.Mtime, a.Ctime} {
		b = ne.AppendUint64(b, v)
	}
	for _, v := range [...]uint32{
		a.AtimeNsec, a.MtimeNsec, a.CtimeNsec, a.Mode, a.Nlink, a.UID, a.GID, a.Rdev, a.Blksize, a.Flags,
	} {
		b = ne.AppendUint32(b, v)
	}
	return b
}

// decodeEntryOut reads an EntryOut from b, which is long enough.
func decodeEntryOut(b []byte) (e EntryOut) {
	ne, a := binary.NativeEndian, &e.Attr
	for _, p := range [...]*uint64{&e.NodeID, &e.Generation, &e.EntryValid, &e.AttrValid} {
		*p, b = ne.Uint64(b), b[8:]
	}
	for _, p := range [...]*uint32{&e.EntryValidNsec, &e.AttrValidNsec} {
		*p, b = ne.Uint32(b), b[4:]
	}
	for _, p := range [...]*uint64{&a.Ino, &a.Size, &a.Blocks, &a.Atime, &a.Mtime, &a.Ctime} {
		*p, b = ne.Uint64(b), b[8:]
	}
	for _, p := range [...]*uint32{
		&a.AtimeNsec, &a.MtimeNsec, &a.CtimeNsec, &a.Mode, &a.Nlink, &a.UID, &a.GID, &a.Rdev, &a.Blksize, &a.Flags,
	} {
		*p, b = ne.Uint32(b), b[4:]
	}
	return e
}
