//go:build linux

// Ioctl is a file system with one file, fioc, whose size can be asked for and set by ioctl(2), beside reading, writing and
// truncating it. The client ioctl_client does that.
//
//	ioctl [options] <mountpoint>
//
// A server on the path API gets ioctls whose number says what they carry; the kernel copies that from and to the caller.
package main

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/examples/internal/fioc"
	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

const (
	path  = "/" + fioc.Name
	limit = 1 << 30 // bytes that the file may have
)

func main() { os.Exit(compat.Main(os.Args, new(server).operations(), nil)) }

// server is the file system.
type server struct {
	mu   sync.Mutex
	data []byte
}

func (s *server) operations() *hl.Operations {
	return &hl.Operations{
		Getattr: s.getattr, Readdir: readdir, Truncate: s.truncate, Open: open, Read: s.read, Write: s.write, Ioctl: s.ioctl,
	}
}

func (s *server) getattr(_ *hl.Context, p string, st *hl.Stat, _ *hl.FileInfo) error {
	st.UID, st.GID = uint32(os.Getuid()), uint32(os.Getgid())
	st.Mtime = lowlevel.TimeOf(time.Now())
	st.Atime = st.Mtime
	switch p {
	case "/":
		st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 2
	case path:
		s.mu.Lock()
		defer s.mu.Unlock()
		st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o644, 1, uint64(len(s.data))
	default:
		return syscall.ENOENT
	}
	return nil
}

func readdir(_ *hl.Context, p string, fill hl.Filler, _ uint64, _ *hl.FileInfo, _ bool) error {
	if p != "/" {
		return syscall.ENOENT
	}
	for _, name := range []string{".", "..", fioc.Name} {
		fill.Add(name, nil, 0)
	}
	return nil
}

func open(_ *hl.Context, p string, _ *hl.FileInfo) error {
	if p != path && p != "/" {
		return syscall.ENOENT
	}
	return nil
}

// resize is called with mu held.
func (s *server) resize(size uint64) error {
	if size > limit {
		return syscall.ENOMEM
	}
	if n := int(size); n <= len(s.data) {
		clear(s.data[n:]) // it shows again when the file grows
		s.data = s.data[:n]
	} else {
		s.data = append(s.data, make([]byte, n-len(s.data))...)
	}
	return nil
}

func (s *server) truncate(_ *hl.Context, p string, size int64, _ *hl.FileInfo) error {
	if p != path {
		return syscall.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resize(uint64(size))
}

func (s *server) read(_ *hl.Context, p string, dst []byte, off int64, _ *hl.FileInfo) (int, error) {
	if p != path {
		return 0, syscall.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return copy(dst, s.data[min(off, int64(len(s.data))):]), nil
}

func (s *server) write(_ *hl.Context, p string, src []byte, off int64, _ *hl.FileInfo) (int, error) {
	if p != path {
		return 0, syscall.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := uint64(off) + uint64(len(src)); end > uint64(len(s.data)) {
		if err := s.resize(end); err != nil {
			return 0, err
		}
	}
	return copy(s.data[off:], src), nil
}

// ioctl gets in data what came from the caller, and leaves there what goes back.
func (s *server) ioctl(_ *hl.Context, p string, cmd uint32, _ uint64, _ *hl.FileInfo, flags uint32, data []byte) (int32, error) {
	if p != path {
		return 0, syscall.EINVAL
	}
	if wire.IoctlFlags(flags)&wire.IoctlCompat != 0 { // a 32-bit caller, whose size_t is another
		return 0, syscall.ENOSYS
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch cmd {
	case fioc.GetSize:
		putSize(data, uint64(len(s.data)))
		return 0, nil
	case fioc.SetSize:
		return 0, s.resize(size(data))
	}
	return 0, syscall.EINVAL
}

// size is a C size_t.
func size(data []byte) uint64 {
	if strconv.IntSize == 64 {
		return binary.NativeEndian.Uint64(data)
	}
	return uint64(binary.NativeEndian.Uint32(data))
}

func putSize(data []byte, n uint64) {
	if strconv.IntSize == 64 {
		binary.NativeEndian.PutUint64(data, n)
	} else {
		binary.NativeEndian.PutUint32(data, uint32(n))
	}
}
