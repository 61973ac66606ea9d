//go:build linux

package lowlevel

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
)

// Buf is one piece of a BufVec: memory, or a range of a file.
type Buf struct {
	Mem   []byte // the memory, unless IsFD
	IsFD  bool
	FD    int
	Size  int   // bytes of the file; of memory its length counts
	Pos   int64 // with Seek: where in the file
	Seek  bool  // use Pos; without it the descriptor's own offset
	Retry bool  // go on after a short read or write until nothing more comes
}

func (b *Buf) size() int {
	if b.IsFD {
		return b.Size
	}
	return len(b.Mem)
}

// BufVec is libfuse's fuse_bufvec: pieces of data, and how far Copy has got in them.
type BufVec struct {
	Bufs []Buf
	Idx  int // current piece
	Off  int // bytes of it that are done
	one  [1]Buf
}

// MemVec is a BufVec over one piece of memory.
func MemVec(b []byte) *BufVec { return &BufVec{Bufs: []Buf{{Mem: b}}} }

// FileVec is a BufVec over size bytes at off of a file.
func FileVec(fd, size int, off int64) *BufVec {
	return &BufVec{Bufs: []Buf{{IsFD: true, FD: fd, Size: size, Pos: off, Seek: true}}}
}

// Size is the size of all pieces, done or not, libfuse's fuse_buf_size.
func (v *BufVec) Size() int {
	n := 0
	for i := range v.Bufs {
		if k := v.Bufs[i].size(); n > math.MaxInt-k {
			return math.MaxInt
		} else {
			n += k
		}
	}
	return n
}

// single is the memory of an untouched vector that is one piece of memory.
func (v *BufVec) single() ([]byte, bool) {
	if len(v.Bufs) != 1 || v.Idx != 0 || v.Off != 0 || v.Bufs[0].IsFD {
		return nil, false
	}
	return v.Bufs[0].Mem, true
}

// mem makes v the vector over b without allocating.
func (v *BufVec) mem(b []byte) *BufVec {
	v.one[0] = Buf{Mem: b}
	v.Bufs, v.Idx, v.Off = v.one[:], 0, 0
	return v
}

// CopyFlags are libfuse's fuse_buf_copy_flags.
type CopyFlags uint32

// The flags of Copy.
const (
	CopyNoSplice    CopyFlags = 1 << 1 // between files through memory
	CopyForceSplice CopyFlags = 1 << 2 // between files by splice(2) or not at all
	CopySpliceMove  CopyFlags = 1 << 3 // let the kernel move pages
	CopyNonblock    CopyFlags = 1 << 4
)

// bounce is the size of the memory through which a file is copied that cannot be spliced.
const bounce = 64 << 10

// Copy moves data from src to dst until one of them is full or short, libfuse's fuse_buf_copy. Both vectors remember how far
// they got. It returns how many bytes were copied, and an error only if that is none.
func Copy(dst, src *BufVec, flags CopyFlags) (int, error) {
	if dst == src {
		return src.Size(), nil
	}
	total := 0
	for {
		d, s := dst.current(), src.current()
		if d == nil || s == nil {
			return total, nil
		}
		n := min(d.size()-dst.Off, s.size()-src.Off)
		m, err := copyPiece(d, dst.Off, s, src.Off, n, flags)
		if err != nil {
			if total > 0 {
				return total, nil
			}
			return 0, err
		}
		total += m
		dst.Off += m
		src.Off += m
		if m < n {
			return total, nil
		}
	}
}

// current is the piece at hand, stepping over finished ones; nil at the end.
func (v *BufVec) current() *Buf {
	for v.Idx < len(v.Bufs) && v.Off >= v.Bufs[v.Idx].size() {
		v.Idx++
		v.Off = 0
	}
	if v.Idx >= len(v.Bufs) {
		return nil
	}
	return &v.Bufs[v.Idx]
}

func copyPiece(d *Buf, doff int, s *Buf, soff, n int, flags CopyFlags) (int, error) {
	switch {
	case !d.IsFD && !s.IsFD:
		return copy(d.Mem[doff:doff+n], s.Mem[soff:soff+n]), nil
	case !d.IsFD:
		return s.read(d.Mem[doff:doff+n], soff)
	case !s.IsFD:
		return d.write(s.Mem[soff:soff+n], doff)
	case flags&CopyNoSplice == 0:
		m, err := splicePiece(d, doff, s, soff, n, flags)
		if err != syscall.EINVAL || flags&CopyForceSplice != 0 {
			return m, err
		}
	}
	buf := make([]byte, min(n, bounce))
	total := 0
	for total < n {
		piece := min(n-total, len(buf))
		m, err := s.read(buf[:piece], soff+total)
		if err == nil && m > 0 {
			m, err = d.write(buf[:m], doff+total)
		}
		if err != nil && total == 0 {
			return 0, err
		}
		if err != nil {
			break
		}
		total += m
		if m < piece { // what was read and not written is lost to a stream: going on would leave a gap
			break
		}
	}
	return total, nil
}

func (b *Buf) read(p []byte, off int) (int, error) {
	return b.loop(p, off, func(p []byte, pos int64) (int, error) {
		if b.Seek {
			return sys.Pread(b.FD, p, pos)
		}
		for {
			if n, err := sys.Read(b.FD, p); err != syscall.EINTR {
				return n, err
			}
		}
	})
}

func (b *Buf) write(p []byte, off int) (int, error) {
	return b.loop(p, off, func(p []byte, pos int64) (int, error) {
		if b.Seek {
			return sys.Pwrite(b.FD, p, pos)
		}
		return sys.Write(b.FD, p)
	})
}

// loop runs f once, or with Retry until p is done, f has an error or nothing more comes.
func (b *Buf) loop(p []byte, off int, f func(p []byte, pos int64) (int, error)) (int, error) {
	total := 0
	for {
		n, err := f(p[total:], b.Pos+int64(off+total))
		if err != nil && total == 0 {
			return 0, err
		}
		total += max(n, 0) // -1 beside an error
		if err != nil || n == 0 || total == len(p) || !b.Retry {
			return total, nil
		}
	}
}

func splicePiece(d *Buf, doff int, s *Buf, soff, n int, flags CopyFlags) (int, error) {
	f := 0
	if flags&CopySpliceMove != 0 {
		f |= sys.SpliceMove
	}
	if flags&CopyNonblock != 0 {
		f |= sys.SpliceNonblock
	}
	total := 0
	for {
		var in, out *int64
		if s.Seek {
			pos := s.Pos + int64(soff+total)
			in = &pos
		}
		if d.Seek {
			pos := d.Pos + int64(doff+total)
			out = &pos
		}
		m, err := sys.Splice(s.FD, in, d.FD, out, n-total, f)
		if err == syscall.EINTR {
			continue
		}
		if err != nil && total == 0 {
			return 0, err
		}
		total += max(m, 0)
		if err != nil || m <= 0 || total == n || !s.Retry && !d.Retry {
			return total, nil
		}
	}
}

// ErrnoOf is what the kernel is told of a Go error: the first errno in its chain; else what the errors of package fs and of
// contexts stand for; else EIO. nil is 0.
func ErrnoOf(err error) Errno {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	for _, x := range [...]struct {
		err error
		no  Errno
	}{
		{fs.ErrNotExist, syscall.ENOENT}, {fs.ErrExist, syscall.EEXIST}, {fs.ErrPermission, syscall.EACCES},
		{fs.ErrInvalid, syscall.EINVAL}, {fs.ErrClosed, syscall.EBADF}, {context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT}, {os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		{errors.ErrUnsupported, syscall.EOPNOTSUPP}, {io.ErrUnexpectedEOF, syscall.EIO},
	} {
		if errors.Is(err, x.err) {
			return x.no
		}
	}
	return syscall.EIO
}
