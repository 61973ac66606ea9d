//go:build linux

// Hello is the smallest useful file system on the path API: a directory with one read-only file.
//
//	hello [options] [--name=NAME] [--contents=TEXT] <mountpoint>
//
// It goes into the background when the mount works; -f keeps it in the foreground, -d prints every operation, -h lists the
// options. It ends when it is unmounted: fusermount3 -u <mountpoint>.
package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	hl "github.com/purefuse/purefuse/highlevel"
)

const help = `File-system specific options:
    --name=<s>          Name of the "hello" file
                        (default: "hello")
    --contents=<s>      Contents "hello" file
                        (default "Hello, World!\n")

`

func main() { os.Exit(run(os.Args)) }

func run(argv []string) int {
	h := hello{name: "hello", contents: "Hello World!\n"}
	showHelp := false
	args := opt.NewArgs(argv...)
	err := opt.Parse(args, []opt.Opt{
		opt.Scan("--name=%s", &h.name),
		opt.Scan("--contents=%s", &h.contents),
		opt.Set("-h", &showHelp, true),
		opt.Set("--help", &showHelp, true),
	}, nil)
	if err != nil {
		compat.Log(compat.LogErr, "%v", err)
		return 1
	}
	if showHelp { // our own part; Main adds the options that all programs have
		fmt.Printf("usage: %s [options] <mountpoint>\n\n%s", argv[0], help)
		args.Add("--help")
		args.Argv[0] = ""
	}
	return compat.Main(args.Argv, h.operations(), nil)
}

// hello is the file system.
type hello struct{ name, contents string }

// operations are all that it takes. What is missing is answered by the library.
func (h *hello) operations() *hl.Operations {
	return &hl.Operations{Init: initialize, Getattr: h.getattr, Readdir: h.readdir, Open: h.open, Read: h.read}
}

// initialize may change the configuration; what it returns is Context.Private from then on.
func initialize(_ *hl.Conn, cfg *hl.Config) (any, error) {
	cfg.KernelCache = true // the contents never change
	return nil, nil
}

func (h *hello) getattr(_ *hl.Context, path string, st *hl.Stat, _ *hl.FileInfo) error {
	switch path {
	case "/":
		st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 2
	case "/" + h.name:
		st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, uint64(len(h.contents))
	default:
		return syscall.ENOENT
	}
	return nil
}

func (h *hello) readdir(_ *hl.Context, path string, fill hl.Filler, _ uint64, _ *hl.FileInfo, _ bool) error {
	if path != "/" {
		return syscall.ENOENT
	}
	for _, name := range []string{".", "..", h.name} {
		fill.Add(name, nil, 0) // without offsets: all at once
	}
	return nil
}

func (h *hello) open(_ *hl.Context, path string, fi *hl.FileInfo) error {
	switch {
	case path != "/"+h.name:
		return syscall.ENOENT
	case fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY:
		return syscall.EACCES
	}
	return nil
}

func (h *hello) read(_ *hl.Context, path string, p []byte, off int64, _ *hl.FileInfo) (int, error) {
	if path != "/"+h.name {
		return 0, syscall.ENOENT
	}
	return copy(p, h.contents[min(off, int64(len(h.contents))):]), nil
}
