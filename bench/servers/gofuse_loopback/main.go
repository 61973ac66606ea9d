//go:build linux

// Command gofuse_loopback mounts go-fuse's own loopback file system, with the timeouts and the request size of its peers.
package main

import (
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	source := flag.String("source", "/", "directory that is mirrored")
	timeout := flag.Duration("timeout", time.Second, "validity of attributes and entries")
	passthrough := flag.Bool("passthrough", false, "let the kernel read and write the backing files itself")
	flag.Parse()
	loop, err := fs.NewLoopbackRoot(*source)
	if err != nil {
		log.Fatal(err)
	}
	opts := &fs.Options{
		AttrTimeout: timeout, EntryTimeout: timeout, NullPermissions: true,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, MaxWrite: 1 << 20, FsName: *source, Name: "gofuse"},
	}
	if !*passthrough {
		opts.DisabledCapabilities = fuse.CAP_PASSTHROUGH
	}
	srv, err := fs.Mount(flag.Arg(0), loop, opts)
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
