//go:build linux

package lowlevel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func fileOf(t *testing.T, content []byte) *os.File {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteAt(content, 0)
	require.NoError(t, err)
	return f
}

func pipeOf(t *testing.T, flags int) (r, w int) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC|flags))
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func fd(f *os.File) int { return int(f.Fd()) }

// side is one end of a copy: a vector over fresh data or room, and a look at what has arrived.
type side struct {
	vec *BufVec
	got func() []byte
}

var sources = map[string]func(t *testing.T, data []byte) *BufVec{
	"mem": func(t *testing.T, data []byte) *BufVec { return MemVec(data) },
	"mems": func(t *testing.T, data []byte) *BufVec {
		k := len(data) / 3
		return &BufVec{Bufs: []Buf{{Mem: data[:k]}, {}, {Mem: data[k : k+1]}, {Mem: data[k+1:]}}}
	},
	"file at": func(t *testing.T, data []byte) *BufVec {
		return FileVec(fd(fileOf(t, append([]byte("head"), data...))), len(data), 4)
	},
	"file": func(t *testing.T, data []byte) *BufVec {
		f := fileOf(t, append([]byte("head"), data...))
		_, err := unix.Seek(fd(f), 4, io.SeekStart)
		require.NoError(t, err)
		return &BufVec{Bufs: []Buf{{IsFD: true, FD: fd(f), Size: len(data)}}}
	},
	"pipe": func(t *testing.T, data []byte) *BufVec {
		r, w := pipeOf(t, 0)
		_, err := unix.Write(w, data)
		require.NoError(t, err)
		return &BufVec{Bufs: []Buf{{IsFD: true, FD: r, Size: len(data)}}}
	},
}

var targets = map[string]func(t *testing.T, n int) side{
	"mem": func(t *testing.T, n int) side {
		b := make([]byte, n)
		return side{MemVec(b), func() []byte { return b }}
	},
	"mems": func(t *testing.T, n int) side {
		b := make([]byte, n)
		return side{&BufVec{Bufs: []Buf{{Mem: b[:n/2]}, {Mem: b[n/2:]}}}, func() []byte { return b }}
	},
	"file at": func(t *testing.T, n int) side {
		f := fileOf(t, []byte("head"))
		return side{FileVec(fd(f), n, 4), func() []byte {
			b, err := io.ReadAll(io.NewSectionReader(f, 4, math.MaxInt32))
			require.NoError(t, err)
			return b
		}}
	},
	"file": func(t *testing.T, n int) side {
		f := fileOf(t, nil)
		return side{&BufVec{Bufs: []Buf{{IsFD: true, FD: fd(f), Size: n}}}, func() []byte {
			b, err := os.ReadFile(f.Name())
			require.NoError(t, err)
			return b
		}}
	},
	"pipe": func(t *testing.T, n int) side {
		r, w := pipeOf(t, 0)
		return side{&BufVec{Bufs: []Buf{{IsFD: true, FD: w, Size: n}}}, func() []byte {
			b := make([]byte, n+1)
			m, err := unix.Read(r, b)
			require.NoError(t, err)
			return b[:m]
		}}
	},
}

// Every kind of source into every kind of target, with and without splice.
func TestCopyAll(t *testing.T) {
	data := pattern(20000)
	for from, source := range sources {
		for to, target := range targets {
			for _, flags := range []CopyFlags{0, CopyNoSplice, CopySpliceMove, CopyNonblock} {
				t.Run(fmt.Sprint(from, " to ", to, flags), func(t *testing.T) {
					src, dst := source(t, data), target(t, len(data))
					require.Equal(t, len(data), src.Size())
					n, err := Copy(dst.vec, src, flags)
					require.NoError(t, err)
					require.Equal(t, len(data), n)
					require.Equal(t, data, dst.got())
					require.Nil(t, src.current())
					require.Nil(t, dst.vec.current())
					n, err = Copy(dst.vec, src, flags)
					require.NoError(t, err)
					require.Zero(t, n)
				})
			}
		}
	}
}

// The smaller vector ends the copy, and a next one goes on from there.
func TestCopyState(t *testing.T) {
	data := pattern(100)
	src := &BufVec{Bufs: []Buf{{Mem: data[:30]}, {Mem: data[30:]}}}
	for _, step := range []struct{ n, idx, off int }{{10, 0, 10}, {20, 1, 0}, {5, 1, 5}, {60, 1, 65}} {
		b := make([]byte, step.n)
		n, err := Copy(MemVec(b), src, 0)
		require.NoError(t, err)
		require.Equal(t, step.n, n)
		require.Equal(t, step.idx, src.Idx)
		require.Equal(t, step.off, src.Off)
	}
	rest := make([]byte, 10)
	n, err := Copy(MemVec(rest), src, 0)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.Equal(t, data[95:], rest[:5])
	require.Equal(t, 2, src.Idx)
	require.Equal(t, 100, src.Size(), "Size knows nothing of what is done")

	n, err = Copy(src, src, 0)
	require.NoError(t, err)
	require.Equal(t, 100, n, "onto itself")
}

// A vector in the middle of a file continues at Pos plus what is done.
func TestCopyFileState(t *testing.T) {
	data := pattern(64)
	src := FileVec(fd(fileOf(t, data)), 40, 8)
	for _, want := range [][]byte{data[8:18], data[18:28], data[28:38], data[38:48]} {
		b := make([]byte, 10)
		n, err := Copy(MemVec(b), src, 0)
		require.NoError(t, err)
		require.Equal(t, 10, n)
		require.Equal(t, want, b)
	}
	f := fileOf(t, nil)
	dst := FileVec(fd(f), 10, 3)
	for _, part := range []string{"ab", "cde"} {
		_, err := Copy(dst, MemVec([]byte(part)), 0)
		require.NoError(t, err)
	}
	got, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00abcde", string(got))
}

// A short piece ends the copy, with or without Retry.
func TestCopyShort(t *testing.T) {
	for _, retry := range []bool{false, true} {
		src := FileVec(fd(fileOf(t, pattern(10))), 100, 4)
		src.Bufs[0].Retry = retry
		src.Bufs = append(src.Bufs, Buf{Mem: []byte("never")})
		b := make([]byte, 200)
		n, err := Copy(MemVec(b), src, 0)
		require.NoError(t, err)
		require.Equal(t, 6, n)
		require.Equal(t, pattern(10)[4:], b[:6])
		require.Equal(t, 0, src.Idx)
		require.Equal(t, 6, src.Off)
	}
}

// packets is a pipe in which each read brings one of the given packets.
func packets(t *testing.T, sizes ...int) int {
	r, w := pipeOf(t, unix.O_DIRECT|unix.O_NONBLOCK)
	for _, n := range sizes {
		_, err := unix.Write(w, pattern(n))
		require.NoError(t, err)
	}
	return r
}

// Without Retry a copy takes what one read brings; with it, all that comes until an error or the end.
func TestCopyRetry(t *testing.T) {
	for _, c := range []struct {
		to           string
		retry, other bool // Retry of the source, of the target
		want         int
	}{
		{"mem", false, false, 100},
		{"mem", true, false, 300},
		{"file", false, false, 100},
		{"file", false, true, 100}, // a short read ends the copy, whatever the target says
		{"file", true, false, 300},
		{"file at", true, true, 300},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			src := &BufVec{Bufs: []Buf{{IsFD: true, FD: packets(t, 100, 100, 100), Size: 400, Retry: c.retry}}}
			dst := targets[c.to](t, 400)
			dst.vec.Bufs[0].Retry = c.other
			n, err := Copy(dst.vec, src, CopyNoSplice)
			require.NoError(t, err, "the EAGAIN at the end of the data is not told")
			require.Equal(t, c.want, n)
			require.Equal(t, c.want, src.Off)
			require.Equal(t, pattern(100), dst.got()[:100])
			n, err = Copy(dst.vec, src, CopyNoSplice)
			if c.want == 300 {
				require.ErrorIs(t, err, syscall.EAGAIN)
				require.Zero(t, n)
			} else {
				require.NoError(t, err)
				require.Equal(t, 100, n)
			}
		})
	}
}

// smallPipe takes one page.
func smallPipe(t *testing.T) (r, w int) {
	r, w = pipeOf(t, unix.O_NONBLOCK)
	_, err := unix.FcntlInt(uintptr(w), unix.F_SETPIPE_SZ, os.Getpagesize())
	require.NoError(t, err)
	return r, w
}

// What is taken before an error is counted to the byte, and the error comes with the next copy.
func TestCopyErrorAfterData(t *testing.T) {
	page := os.Getpagesize()
	data := pattern(3 * page)
	for from, source := range sources {
		if from == "mems" {
			continue
		}
		for _, retry := range []bool{false, true} {
			for _, flags := range []CopyFlags{CopyNoSplice, CopyNonblock} {
				t.Run(fmt.Sprint(from, retry, flags), func(t *testing.T) {
					r, w := smallPipe(t)
					src := source(t, data)
					dst := &BufVec{Bufs: []Buf{{IsFD: true, FD: w, Size: len(data), Retry: retry}}}
					n, err := Copy(dst, src, flags)
					require.NoError(t, err)
					require.Positive(t, n)
					require.LessOrEqual(t, n, page)
					require.Equal(t, n, dst.Off)
					require.Equal(t, n, src.Off)
					got := make([]byte, len(data))
					m, err := unix.Read(r, got)
					require.NoError(t, err)
					require.Equal(t, n, m)
					require.Equal(t, data[:n], got[:n])
				})
			}
		}
	}
	_, w := smallPipe(t)
	_, err := unix.Write(w, data[:page])
	require.NoError(t, err)
	n, err := Copy(&BufVec{Bufs: []Buf{{IsFD: true, FD: w, Size: 1, Retry: true}}}, MemVec(data), 0)
	require.ErrorIs(t, err, syscall.EAGAIN)
	require.Zero(t, n)
}

// After a short write no further piece of the source is read: of a stream it would be lost.
func TestCopyShortWriteStops(t *testing.T) {
	f := fileOf(t, pattern(4*bounce))
	_, w := smallPipe(t)
	src := &BufVec{Bufs: []Buf{{IsFD: true, FD: fd(f), Size: 4 * bounce, Retry: true}}}
	dst := &BufVec{Bufs: []Buf{{IsFD: true, FD: w, Size: 4 * bounce}}}
	n, err := Copy(dst, src, CopyNoSplice)
	require.NoError(t, err)
	require.Equal(t, os.Getpagesize(), n)
	at, err := unix.Seek(fd(f), 0, io.SeekCurrent)
	require.NoError(t, err)
	require.EqualValues(t, bounce, at)
}

func TestCopyErrors(t *testing.T) {
	f := fileOf(t, pattern(10))
	r, w := pipeOf(t, 0)
	mem := func() *BufVec { return MemVec(make([]byte, 4)) }
	for name, c := range map[string]struct {
		dst, src *BufVec
		flags    CopyFlags
		want     syscall.Errno
	}{
		"read of nothing open":       {mem(), FileVec(-1, 4, 0), 0, syscall.EBADF},
		"write to nothing open":      {FileVec(-1, 4, 0), mem(), 0, syscall.EBADF},
		"splice to nothing open":     {FileVec(-1, 4, 0), FileVec(fd(f), 4, 0), 0, syscall.EBADF},
		"bounce to nothing open":     {FileVec(-1, 4, 0), FileVec(fd(f), 4, 0), CopyNoSplice, syscall.EBADF},
		"pwrite to a pipe":           {FileVec(w, 4, 0), mem(), 0, syscall.ESPIPE},
		"pread of a pipe":            {mem(), FileVec(r, 4, 0), 0, syscall.ESPIPE},
		"splice at a pipe's offset":  {FileVec(w, 4, 0), FileVec(fd(f), 4, 0), 0, syscall.ESPIPE},
		"splice between files":       {FileVec(fd(f), 4, 0), FileVec(fd(f), 4, 4), CopyForceSplice, syscall.EINVAL},
		"negative place":             {mem(), FileVec(fd(f), 4, -5), 0, syscall.EINVAL},
		"the second piece is absent": {mem(), &BufVec{Bufs: []Buf{{Mem: nil}, {IsFD: true, FD: -1, Size: 1}}}, 0, syscall.EBADF},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := Copy(c.dst, c.src, c.flags)
			require.ErrorIs(t, err, c.want)
			require.Zero(t, n)
			require.Zero(t, c.dst.Off)
			require.Zero(t, c.src.Off)
		})
	}
	dst := mem()
	n, err := Copy(dst, &BufVec{Bufs: []Buf{{Mem: []byte("ab")}, {IsFD: true, FD: -1, Size: 1}}}, 0)
	require.NoError(t, err, "an error after data is not told")
	require.Equal(t, 2, n)

	n, err = Copy(&BufVec{}, mem(), 0)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = Copy(mem(), &BufVec{Bufs: []Buf{{}, {IsFD: true}}}, 0)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestCopyOverlap(t *testing.T) {
	b := pattern(100)
	n, err := Copy(MemVec(b[10:]), MemVec(b[:90]), 0)
	require.NoError(t, err)
	require.Equal(t, 90, n)
	require.Equal(t, pattern(100)[:90], b[10:])
}

// A hole of a file that is larger than the bounce memory, through it.
func TestCopyLarge(t *testing.T) {
	data := pattern(3*bounce + 5)
	for _, retry := range []bool{false, true} {
		src := FileVec(fd(fileOf(t, data)), len(data), 0)
		f := fileOf(t, nil)
		dst := FileVec(fd(f), len(data), 7)
		src.Bufs[0].Retry = retry
		n, err := Copy(dst, src, 0) // splice(2) refuses two files
		require.NoError(t, err)
		require.Equal(t, len(data), n)
		got, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.Equal(t, data, got[7:])
	}
}

func TestBufVecSize(t *testing.T) {
	require.Zero(t, (&BufVec{}).Size())
	require.Equal(t, 7, (&BufVec{Idx: 1, Off: 2, Bufs: []Buf{{Mem: make([]byte, 3), Size: 99}, {IsFD: true, Size: 4}}}).Size())
	half := Buf{IsFD: true, Size: math.MaxInt/2 + 1}
	require.Equal(t, math.MaxInt, (&BufVec{Bufs: []Buf{half, half, half}}).Size())
	require.Equal(t, math.MaxInt, (&BufVec{Bufs: []Buf{{IsFD: true, Size: math.MaxInt}, {Mem: []byte{1}}}}).Size())

	b, ok := MemVec([]byte("x")).single()
	require.True(t, ok)
	require.Equal(t, "x", string(b))
	for _, v := range []*BufVec{{}, {Bufs: make([]Buf, 2)}, {Bufs: make([]Buf, 1), Off: 1}, {Bufs: make([]Buf, 1), Idx: 1}, FileVec(0, 1, 0)} {
		_, ok := v.single()
		require.False(t, ok)
	}
	v := FileVec(0, 1, 0)
	v.Off = 1
	require.Zero(t, testing.AllocsPerRun(10, func() { v.mem(b) }))
	got, ok := v.single()
	require.True(t, ok)
	require.Equal(t, b, got)
}

func TestErrnoOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Errno
	}{
		{nil, 0},
		{syscall.ENOTEMPTY, syscall.ENOTEMPTY},
		{fmt.Errorf("x: %w", &os.PathError{Op: "open", Err: syscall.ELOOP}), syscall.ELOOP},
		{os.NewSyscallError("x", syscall.ENOSPC), syscall.ENOSPC},
		{errors.Join(errors.New("x"), syscall.EXDEV, syscall.EIO), syscall.EXDEV},
		{fmt.Errorf("%w: %w", fs.ErrNotExist, syscall.EACCES), syscall.EACCES},
		{fs.ErrNotExist, syscall.ENOENT},
		{&fs.PathError{Op: "open", Err: fs.ErrExist}, syscall.EEXIST},
		{fs.ErrPermission, syscall.EACCES},
		{fs.ErrInvalid, syscall.EINVAL},
		{fs.ErrClosed, syscall.EBADF},
		{context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		{errors.ErrUnsupported, syscall.EOPNOTSUPP},
		{io.ErrUnexpectedEOF, syscall.EIO},
		{io.EOF, syscall.EIO},
		{errors.New("anything"), syscall.EIO},
	} {
		require.Equal(t, c.want, ErrnoOf(c.err), "%v", c.err)
	}
}
