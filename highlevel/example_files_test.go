//go:build linux

package highlevel_test

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

// fileStore is a file system with one directory of files.
type fileStore struct {
	mu    sync.Mutex
	files map[string]*[]byte
	open  lowlevel.Handles[*[]byte] // what stands behind FileInfo.FH
}

func (s *fileStore) getattr(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path == "/" {
		st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 2
		return nil
	}
	data, ok := s.files[path]
	if !ok {
		return syscall.ENOENT
	}
	st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o644, 1, uint64(len(*data))
	return nil
}

func (s *fileStore) create(_ *highlevel.Context, path string, _ uint32, fi *highlevel.FileInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = new([]byte)
	fi.FH = s.open.Put(s.files[path])
	return nil
}

func (s *fileStore) openFile(_ *highlevel.Context, path string, fi *highlevel.FileInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.files[path]
	if !ok {
		return syscall.ENOENT
	}
	fi.FH = s.open.Put(data)
	return nil
}

func (s *fileStore) read(_ *highlevel.Context, _ string, p []byte, off int64, fi *highlevel.FileInfo) (int, error) {
	data, ok := s.open.Get(fi.FH)
	if !ok {
		return 0, syscall.EBADF
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return copy(p, (*data)[min(off, int64(len(*data))):]), nil
}

func (s *fileStore) write(_ *highlevel.Context, _ string, p []byte, off int64, fi *highlevel.FileInfo) (int, error) {
	data, ok := s.open.Get(fi.FH)
	if !ok {
		return 0, syscall.EBADF
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := off + int64(len(p)) - int64(len(*data)); more > 0 {
		*data = append(*data, make([]byte, more)...)
	}
	return copy((*data)[off:], p), nil
}

func (s *fileStore) release(_ *highlevel.Context, _ string, fi *highlevel.FileInfo) error {
	s.open.Take(fi.FH)
	return nil
}

// Files: from open(2) to the last close(2) of a descriptor.
func ExampleOperations_files() {
	s := &fileStore{files: map[string]*[]byte{}}
	ops := &highlevel.Operations{
		Getattr: s.getattr, Create: s.create, Open: s.openFile, Read: s.read, Write: s.write, Release: s.release,
	}
	drive(ops, func(k *fusetest.Kernel) {
		e, f, err := k.Create(lowlevel.RootID, "file", os.O_RDWR, 0o644)
		fmt.Println(err)
		n, err := f.Write(0, []byte("Hello World!"))
		fmt.Println(n, err)
		fmt.Println(f.Close())
		f, err = k.Open(e.NodeID, os.O_RDONLY)
		fmt.Println(err)
		data, err := f.Read(6, 100)
		fmt.Printf("%q %v\n", data, err)
		fmt.Println(f.Close())
	})
	fmt.Println("open:", s.open.Len())

	// Output:
	// <nil>
	// 12 <nil>
	// <nil>
	// <nil>
	// "World!" <nil>
	// <nil>
	// open: 0
}
