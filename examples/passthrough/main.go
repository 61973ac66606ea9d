//go:build linux

// Passthrough mirrors the root directory of the machine: each operation does the same to the file of the same path. It shows
// all operations of the path API in their simplest form; passthrough_fh does more with open files, and passthrough_ll is
// faster.
//
//	passthrough [options] [--plus] [--readdir-zero-inodes] <mountpoint>
//
// --plus gives the kernel attributes with the names of a listing; --readdir-zero-inodes leaves inode numbers to the library.
// To mirror another directory put it in front of each path: -o modules=subdir,subdir=DIR.
package main

import (
	"os"
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/examples/internal/mirror"
	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
)

func main() {
	syscall.Umask(0) // the kernel has applied the caller's
	os.Exit(run(os.Args))
}

func run(argv []string) int {
	var p passthrough
	argv = slices.DeleteFunc(slices.Clone(argv), func(arg string) bool {
		switch arg {
		case "--plus":
			p.plus = true
		case "--readdir-zero-inodes":
			p.zeroInodes = true
		default:
			return false
		}
		return true
	})
	return compat.Main(argv, p.operations(), nil)
}

// passthrough is the file system.
type passthrough struct{ plus, zeroInodes bool }

func (p *passthrough) operations() *hl.Operations {
	ops := new(mirror.Mirror).Operations()
	ops.Init, ops.Readdir = p.init, p.readdir
	ops.Read, ops.Write, ops.Fsync = read, write, fsync
	return &ops
}

func (p *passthrough) init(_ *hl.Conn, cfg *hl.Config) (any, error) {
	cfg.UseIno = !p.zeroInodes
	cfg.ParallelDirectWrites = true // matters with DirectIO
	mirror.NoCache(cfg)
	return nil, nil
}

// readdir reads all of the directory at once: the offset counts for nothing, and no entry gets one.
func (p *passthrough) readdir(_ *hl.Context, path string, fill hl.Filler, _ uint64, _ *hl.FileInfo, _ bool) error {
	dir, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(dir)
	buf := make([]byte, 32<<10)
	for {
		n, err := sys.Getdents(dir, buf)
		if n <= 0 || err != nil {
			return err
		}
		for e := range sys.Dirents(buf[:n]) {
			if more := p.add(dir, e, fill); !more {
				return nil
			}
		}
	}
}

func (p *passthrough) add(dir int, e sys.Dirent, fill hl.Filler) bool {
	st := hl.Stat{Ino: e.Ino, Mode: uint32(e.Type) << 12}
	var full syscall.Stat_t
	plus := p.plus && sys.LstatIn(dir, e.Name, &full) == nil // it may have gone meanwhile
	if plus {
		st = lowlevel.StatOf(&full)
	}
	if p.zeroInodes {
		st.Ino = 0
	}
	if plus {
		return fill.AddPlus(e.Name, &st, 0)
	}
	return fill.Add(e.Name, &st, 0)
}

func read(_ *hl.Context, _ string, p []byte, off int64, fi *hl.FileInfo) (int, error) {
	return sys.Pread(int(fi.FH), p, off)
}

func write(_ *hl.Context, _ string, p []byte, off int64, fi *hl.FileInfo) (int, error) {
	return mirror.Pwrite(fi, p, off)
}

// fsync is more than libfuse's passthrough does, which lets the caller believe that all is well.
func fsync(_ *hl.Context, _ string, datasync bool, fi *hl.FileInfo) error {
	return mirror.Fsync(int(fi.FH), datasync)
}
