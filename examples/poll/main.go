//go:build linux

// Poll is a file system of 16 files, 0 to F, that fill up by themselves like pipes and can be waited for with poll(2) and
// select(2). The client poll_client does that.
//
//	poll [options] <mountpoint>
//
// In the foreground it prints what happens.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	hl "github.com/purefuse/purefuse/highlevel"
)

const (
	digits   = "0123456789ABCDEF" // the names of the files, and what they contain
	most     = 10                 // bytes in a file
	interval = 250 * time.Millisecond

	pollIn = 1 // POLLIN of poll(2)
)

func main() { os.Exit(compat.Main(os.Args, new(server).operations(), nil)) }

// server is the file system.
type server struct {
	mu     sync.Mutex
	files  [len(digits)]file
	zeroes int // polls in a row that found nothing

	stop    chan struct{}
	stopped chan struct{}
}

type file struct {
	open    bool
	n       int            // bytes that can be read
	waiting *hl.PollHandle // who waits for more
}

func (s *server) operations() *hl.Operations {
	return &hl.Operations{
		Init: s.init, Destroy: s.destroy,
		Getattr: s.getattr, Readdir: readdir, Open: s.open, Release: s.release, Read: s.read, Poll: s.poll,
	}
}

// init starts the producer. Not main: the program may go into the background after that, where only this goroutine counts.
func (s *server) init(*hl.Conn, *hl.Config) (any, error) {
	s.stop, s.stopped = make(chan struct{}), make(chan struct{})
	go s.produce()
	return nil, nil
}

func (s *server) destroy(any) {
	close(s.stop)
	<-s.stopped
}

// index is the number of a file, -1 if there is none of that path.
func index(path string) int {
	if len(path) != 2 {
		return -1
	}
	return bytes.IndexByte([]byte(digits), path[1])
}

func (s *server) getattr(_ *hl.Context, path string, st *hl.Stat, _ *hl.FileInfo) error {
	if path == "/" {
		st.Mode, st.Nlink = syscall.S_IFDIR|0o555, 2
		return nil
	}
	i := index(path)
	if i < 0 {
		return syscall.ENOENT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, uint64(s.files[i].n)
	return nil
}

func readdir(_ *hl.Context, path string, fill hl.Filler, _ uint64, _ *hl.FileInfo, _ bool) error {
	if path != "/" {
		return syscall.ENOENT
	}
	for _, name := range digits {
		fill.Add(string(name), nil, 0)
	}
	return nil
}

// open lets one reader in. Like a pipe, a file has no positions, and the kernel keeps nothing of it.
func (s *server) open(_ *hl.Context, path string, fi *hl.FileInfo) error {
	i := index(path)
	switch {
	case i < 0:
		return syscall.ENOENT
	case fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY:
		return syscall.EACCES
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[i].open {
		return syscall.EBUSY
	}
	s.files[i].open = true
	fi.FH, fi.DirectIO, fi.NonSeekable = uint64(i), true, true
	return nil
}

func (s *server) release(_ *hl.Context, _ string, fi *hl.FileInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[fi.FH].open = false
	return nil
}

func (s *server) read(_ *hl.Context, _ string, p []byte, _ int64, fi *hl.FileInfo) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.files[fi.FH]
	n := min(len(p), f.n)
	fmt.Printf("READ   %X transferred=%d cnt=%d\n", fi.FH, n, f.n)
	f.n -= n
	copy(p, bytes.Repeat([]byte{digits[fi.FH]}, n))
	return n, nil
}

// poll says what is there, and keeps the handle of a caller who waits for more.
func (s *server) poll(_ *hl.Context, _ string, fi *hl.FileInfo, ph *hl.PollHandle) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.files[fi.FH]
	if ph != nil {
		f.waiting = ph
	}
	if f.n == 0 {
		s.zeroes++
		return 0, nil
	}
	fmt.Printf("POLL   %X cnt=%d polled_zero=%d\n", fi.FH, f.n, s.zeroes)
	s.zeroes = 0
	return pollIn, nil
}

// produce adds a byte to one, two or four files at a time.
func (s *server) produce() {
	defer close(s.stopped)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first, n := 0, 1; ; {
		for i := range n {
			s.fill((first + i*len(digits)/n) % len(digits))
		}
		if first = (first + 1) % len(digits); first == 0 {
			n = n * 2 % 7 // 1, 2, 4, 1
		}
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

// fill adds a byte to a file, unless it is full, and wakes who waits for it.
func (s *server) fill(i int) {
	s.mu.Lock()
	f := &s.files[i]
	if f.n == most {
		s.mu.Unlock()
		return
	}
	f.n++
	waiting := f.waiting
	f.waiting = nil
	if waiting != nil {
		fmt.Printf("NOTIFY %X\n", i)
	}
	s.mu.Unlock()
	waiting.Notify() // which may have to wait for the kernel, and does nothing for nil
}
