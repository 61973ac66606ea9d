//go:build linux

// Command gofuse is the null server of the latency rows on go-fuse: one file whose bytes are one block of memory.
//
// It has two forms, as go-fuse has two interfaces: -api raw (RawFileSystem) and -api fs (the node tree).
package main

import (
	"bytes"
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	blockSize = 1 << 20
	fileSize  = 64 << 20
	timeout   = time.Minute
)

// block holds its bytes twice, so that a read of any offset within blockSize is one slice.
var block = bytes.Repeat([]byte{'n'}, 2*blockSize)

func slice(off uint64, size int) []byte {
	n := min(uint64(size), blockSize, fileSize-min(off, fileSize))
	at := off % blockSize
	return block[at : at+n]
}

// raw answers at the level of opcodes.
type raw struct{ fuse.RawFileSystem }

func fill(ino uint64, a *fuse.Attr) fuse.Status {
	switch ino {
	case 1:
		*a = fuse.Attr{Ino: 1, Mode: syscall.S_IFDIR | 0o755, Nlink: 2}
	case 2:
		*a = fuse.Attr{Ino: 2, Mode: syscall.S_IFREG | 0o644, Nlink: 1, Size: fileSize}
	default:
		return fuse.ENOENT
	}
	return fuse.OK
}

func (raw) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if h.NodeId != 1 || name != "data" {
		return fuse.ENOENT
	}
	out.NodeId = 2
	out.SetEntryTimeout(timeout)
	out.SetAttrTimeout(timeout)
	return fill(2, &out.Attr)
}

func (raw) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(timeout)
	return fill(in.NodeId, &out.Attr)
}

func (raw) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	if in.NodeId != 2 {
		return fuse.Status(syscall.EISDIR)
	}
	return fuse.OK
}

func (raw) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	return fuse.ReadResultData(slice(in.Offset, len(buf))), fuse.OK
}

func (raw) Write(_ <-chan struct{}, _ *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return uint32(len(data)), fuse.OK
}

// root and file are the same in the node tree.
type root struct{ fs.Inode }

func (r *root) OnAdd(ctx context.Context) {
	r.AddChild("data", r.NewPersistentInode(ctx, &file{}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: 2}), true)
}

type file struct{ fs.Inode }

func (*file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	fill(2, &out.Attr)
	return 0
}

func (*file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) { return nil, 0, 0 }

func (*file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(slice(uint64(off), len(dest))), 0
}

func (*file) Write(_ context.Context, _ fs.FileHandle, data []byte, _ int64) (uint32, syscall.Errno) {
	return uint32(len(data)), 0
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
	_ fs.NodeWriter    = (*file)(nil)
)

func main() {
	api := flag.String("api", "raw", "raw or fs")
	flag.Parse()
	opts := fuse.MountOptions{DirectMountStrict: true, MaxWrite: blockSize, DisableXAttrs: true, FsName: "gofuse", Name: "gofuse"}
	var srv *fuse.Server
	var err error
	switch d := timeout; *api {
	case "raw":
		if srv, err = fuse.NewServer(raw{fuse.NewDefaultRawFileSystem()}, flag.Arg(0), &opts); err == nil {
			go srv.Serve()
			err = srv.WaitMount()
		}
	case "fs":
		srv, err = fs.Mount(flag.Arg(0), &root{}, &fs.Options{MountOptions: opts, AttrTimeout: &d, EntryTimeout: &d})
	default:
		log.Fatalf("gofuse: unknown -api %q", *api)
	}
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		if err := srv.Unmount(); err != nil {
			log.Print(err)
		}
	}()
	srv.Wait()
}
