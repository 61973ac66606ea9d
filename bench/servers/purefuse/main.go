//go:build linux

// Command purefuse is the null server of the latency rows on purefuse's low-level API: one file whose bytes are one block
// of memory. With -backing FILE the kernel reads and writes FILE instead, and the server only opens it.
package main

import (
	"bytes"
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
)

const (
	blockSize = 1 << 20
	fileSize  = 64 << 20
	timeout   = time.Minute
)

// block holds its bytes twice, so that a read of any offset within blockSize is one slice.
var block = bytes.Repeat([]byte{'n'}, 2*blockSize)

func stat(ino lowlevel.NodeID) (st lowlevel.Stat, errno syscall.Errno) {
	switch ino {
	case 1:
		return lowlevel.Stat{Ino: 1, Mode: syscall.S_IFDIR | 0o755, Nlink: 2}, 0
	case 2:
		return lowlevel.Stat{Ino: 2, Mode: syscall.S_IFREG | 0o644, Nlink: 1, Size: fileSize}, 0
	}
	return st, syscall.ENOENT
}

func lookup(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name) {
	if parent != 1 || string(name.Bytes()) != "data" {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	e := lowlevel.Entry{NodeID: 2, AttrTimeout: timeout, EntryTimeout: timeout}
	e.Attr, _ = stat(2)
	r.ReplyEntry(&e)
}

func getattr(r lowlevel.AttrReq, ino lowlevel.NodeID, _ *lowlevel.FileInfo) {
	st, errno := stat(ino)
	if errno != 0 {
		r.ReplyErr(errno)
		return
	}
	r.ReplyAttr(&st, timeout)
}

func open(r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
	if ino != 2 {
		r.ReplyErr(syscall.EISDIR)
		return
	}
	r.ReplyOpen(fi)
}

func read(r lowlevel.DataReq, _ lowlevel.NodeID, size int, off int64, _ *lowlevel.FileInfo) {
	at := off % blockSize
	n := min(int64(size), blockSize, fileSize-min(off, fileSize))
	r.ReplyBuf(block[at : at+n])
}

func write(r lowlevel.WriteReq, _ lowlevel.NodeID, data []byte, _ int64, _ *lowlevel.FileInfo) {
	r.ReplyWrite(len(data))
}

// backed hands the file at path to the kernel, registered once for all opens.
func backed(path string) func(lowlevel.OpenReq, lowlevel.NodeID, *lowlevel.FileInfo) {
	var mu sync.Mutex
	var id lowlevel.BackingID
	return func(r lowlevel.OpenReq, ino lowlevel.NodeID, fi *lowlevel.FileInfo) {
		mu.Lock()
		defer mu.Unlock()
		if id == 0 {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err == nil {
				id, err = r.Backing(int(f.Fd()))
				f.Close() // the kernel has its own reference
			}
			if err != nil {
				log.Print("backing: ", err)
				r.ReplyErr(syscall.EIO)
				return
			}
		}
		fi.Backing = id
		r.ReplyOpen(fi)
	}
}

func main() {
	backing := flag.String("backing", "", "file that the kernel reads and writes by itself")
	workers := flag.Int("workers", 0, "as Config.Workers")
	flag.Parse()
	ops := &lowlevel.Operations{Lookup: lookup, Getattr: getattr, Open: open, Read: read, Write: write}
	if *backing != "" {
		ops.Open = backed(*backing)
		ops.Init = func(c *lowlevel.Conn) error {
			c.MaxStackDepth = 1
			return c.Want(lowlevel.CapPassthrough)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := lowlevel.New(ops, &lowlevel.Config{Workers: *workers})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Mount(ctx, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
	if err := s.Serve(ctx); err != nil {
		log.Fatal(err)
	}
}
