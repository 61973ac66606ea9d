//go:build linux

// Passthrough_fh mirrors the root directory of the machine as passthrough does, but works on open files and directories
// through their handles, and so on files that have lost their names. It reads and writes without copying where the kernel
// can, and has locks in the files below.
//
//	passthrough_fh [options] <mountpoint>
//
// To mirror another directory put it in front of each path: -o modules=subdir,subdir=DIR.
package main

import (
	"os"
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
	kicker, err := sys.NewKicker()
	if err != nil {
		compat.Log(compat.LogErr, "%v", err)
		return 1
	}
	p := &passthrough{locks: locks{kicker: kicker}}
	return compat.Main(argv, p.operations(), nil)
}

// passthrough is the file system.
type passthrough struct {
	dirs  lowlevel.Handles[*directory]
	locks locks
}

func (p *passthrough) operations() *hl.Operations {
	ops := (&mirror.Mirror{ByHandle: true}).Operations()
	ops.Init = p.init
	ops.Opendir, ops.Readdir, ops.Releasedir, ops.Fsyncdir = p.opendir, p.readdir, p.releasedir, p.fsyncdir
	ops.Read, ops.ReadBuf, ops.Write, ops.WriteBuf = read, readBuf, write, writeBuf
	ops.Flush, ops.Fsync = flush, fsync
	ops.Flock, ops.Lock = p.locks.flock, p.locks.posix
	return &ops
}

func (p *passthrough) init(_ *hl.Conn, cfg *hl.Config) (any, error) {
	cfg.UseIno = true
	cfg.NullPathOK = true // no paths are made up for what has a handle
	mirror.NoCache(cfg)
	return nil, nil
}

// read is called where readBuf's answer cannot be used as it is, by modules for one.
func read(_ *hl.Context, _ string, p []byte, off int64, fi *hl.FileInfo) (int, error) {
	return sys.Pread(int(fi.FH), p, off)
}

// readBuf says where the data are; they go from the file to the kernel without passing through the server's memory if they
// can.
func readBuf(_ *hl.Context, _ string, size int, off int64, fi *hl.FileInfo) (*hl.BufVec, error) {
	return lowlevel.FileVec(int(fi.FH), size, off), nil
}

func write(_ *hl.Context, _ string, p []byte, off int64, fi *hl.FileInfo) (int, error) {
	return mirror.Pwrite(fi, p, off)
}

func writeBuf(_ *hl.Context, _ string, buf *hl.BufVec, off int64, fi *hl.FileInfo) (int, error) {
	if len(buf.Bufs) == 1 && !buf.Bufs[0].IsFD {
		return mirror.Pwrite(fi, buf.Bufs[0].Mem, off)
	}
	return lowlevel.Copy(lowlevel.FileVec(int(fi.FH), buf.Size(), off), buf, lowlevel.CopyNonblock)
}

// flush comes with each close(2), of which an open file may see several. Closing a copy of the descriptor tells the file
// below, which may have errors to report.
func flush(_ *hl.Context, _ string, fi *hl.FileInfo) error {
	fd, err := sys.Dup(int(fi.FH))
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}

func fsync(_ *hl.Context, _ string, datasync bool, fi *hl.FileInfo) error {
	return mirror.Fsync(int(fi.FH), datasync)
}
