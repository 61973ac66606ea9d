//go:build linux

// Null is a mount that is a file: it reads as 4 GiB of zeros and takes whatever is written.
//
//	null [options] <file>
//
// The mount point must be a regular file. It is covered until the unmount: fusermount3 -u <file>.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

const size = 4 << 30

func main() { os.Exit(run(os.Args)) }

func run(argv []string) int {
	// A look at the mount point; Main reads the command line again.
	o, err := compat.ParseCmdline(opt.NewArgs(argv...))
	if err != nil {
		compat.Log(compat.LogErr, "%v", err)
		return 1
	}
	if o.ShowHelp || o.ShowVersion {
		return compat.Main(argv, &operations, nil)
	}
	if o.Mountpoint == "" {
		fmt.Fprintln(os.Stderr, "missing mountpoint parameter")
		return 1
	}
	st, err := os.Stat(o.Mountpoint)
	if err != nil {
		fmt.Fprintf(os.Stderr, "failed to access mountpoint %s: %s\n", o.Mountpoint, compat.Strerror(err))
		return 1
	}
	if !st.Mode().IsRegular() {
		fmt.Fprintln(os.Stderr, "mountpoint is not a regular file")
		return 1
	}
	return compat.Main(argv, &operations, nil)
}

// operations get the path "/" only: the root of this mount is a file, and nothing is below it.
var operations = hl.Operations{
	Getattr: func(_ *hl.Context, path string, st *hl.Stat, _ *hl.FileInfo) error {
		st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o644, 1, size
		st.UID, st.GID = uint32(os.Getuid()), uint32(os.Getgid())
		st.Mtime = lowlevel.TimeOf(time.Now())
		st.Atime, st.Ctime = st.Mtime, st.Mtime
		return root(path)
	},
	Truncate: func(_ *hl.Context, path string, _ int64, _ *hl.FileInfo) error { return root(path) },
	Open:     func(_ *hl.Context, path string, _ *hl.FileInfo) error { return root(path) },
	Read: func(_ *hl.Context, path string, p []byte, off int64, _ *hl.FileInfo) (int, error) {
		if off >= size {
			return 0, root(path)
		}
		clear(p)
		return len(p), root(path)
	},
	Write: func(_ *hl.Context, path string, p []byte, _ int64, _ *hl.FileInfo) (int, error) {
		return len(p), root(path)
	},
}

func root(path string) error {
	if path != "/" {
		return syscall.ENOENT
	}
	return nil
}
