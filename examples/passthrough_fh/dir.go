//go:build linux

package main

import (
	"slices"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/examples/internal/mirror"
	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
)

// directory is an open directory: a descriptor and what was read from it ahead.
type directory struct {
	fd int

	mu    sync.Mutex
	ahead []sys.Dirent
	off   int64 // where ahead begins
	buf   []byte
}

func (p *passthrough) opendir(_ *hl.Context, path string, fi *hl.FileInfo) error {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	fi.FH = p.dirs.Put(&directory{fd: fd, buf: make([]byte, 16<<10)})
	return nil
}

func (p *passthrough) releasedir(_ *hl.Context, _ string, fi *hl.FileInfo) error {
	d, ok := p.dirs.Take(fi.FH)
	if !ok {
		return syscall.EBADF
	}
	return syscall.Close(d.fd)
}

func (p *passthrough) fsyncdir(_ *hl.Context, _ string, datasync bool, fi *hl.FileInfo) error {
	d, ok := p.dirs.Get(fi.FH)
	if !ok {
		return syscall.EBADF
	}
	return mirror.Fsync(d.fd, datasync)
}

// readdir gives each entry the offset that the directory below has for it: only as many are read as the kernel has room for,
// and seekdir(3) works as it does there.
func (p *passthrough) readdir(_ *hl.Context, _ string, fill hl.Filler, off uint64, fi *hl.FileInfo, plus bool) error {
	d, ok := p.dirs.Get(fi.FH)
	if !ok {
		return syscall.EBADF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := int64(off); at != d.off || at == 0 {
		d.ahead, d.off = nil, at
		if _, err := sys.Seek(d.fd, at, 0); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		if len(d.ahead) == 0 {
			n, err := sys.Getdents(d.fd, d.buf)
			if err != nil && first { // later, the kernel has been promised the entries before
				return err
			}
			if n <= 0 || err != nil {
				return nil
			}
			d.ahead = slices.AppendSeq(d.ahead, sys.Dirents(d.buf[:n]))
		}
		e := d.ahead[0]
		if !d.add(e, fill, plus) {
			return nil
		}
		d.ahead, d.off = d.ahead[1:], e.Next
	}
}

func (d *directory) add(e sys.Dirent, fill hl.Filler, plus bool) bool {
	var full syscall.Stat_t
	if plus && sys.LstatIn(d.fd, e.Name, &full) == nil {
		st := lowlevel.StatOf(&full)
		return fill.AddPlus(e.Name, &st, uint64(e.Next))
	}
	return fill.Add(e.Name, &hl.Stat{Ino: e.Ino, Mode: uint32(e.Type) << 12}, uint64(e.Next))
}
