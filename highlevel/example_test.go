//go:build linux

package highlevel_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/highlevel"
)

// A mount of any fs.FS: embedded files, an archive, a directory.
func ExampleFromFS() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ops := highlevel.FromFS(os.DirFS("/usr/share/doc"))
	if err := highlevel.Run(ctx, "/mnt/doc", ops, nil); err != nil {
		log.Fatal(err)
	}
}

// A mount of a directory that can be written to, for all users, with the kernel checking their rights.
func ExampleFromRoot() {
	root, err := os.OpenRoot("/srv/data")
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	cfg := &highlevel.Config{}
	cfg.Mount.AllowOther, cfg.Mount.DefaultPermissions = true, true
	if err := highlevel.Run(context.Background(), "/mnt/data", highlevel.FromRoot(root), cfg); err != nil {
		log.Fatal(err)
	}
}

// libfuse's hello.c: a file system with one file.
func ExampleOperations() {
	const name, content = "/hello", "Hello World!\n"
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			switch path {
			case "/":
				st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 2
			case name:
				st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, uint64(len(content))
			default:
				return syscall.ENOENT
			}
			return nil
		},
		Readdir: func(_ *highlevel.Context, _ string, fill highlevel.Filler, _ uint64, _ *highlevel.FileInfo, _ bool) error {
			for _, n := range []string{".", "..", name[1:]} {
				fill.Add(n, nil, 0)
			}
			return nil
		},
		Read: func(_ *highlevel.Context, _ string, p []byte, off int64, _ *highlevel.FileInfo) (int, error) {
			return copy(p, content[min(off, int64(len(content))):]), nil
		},
	}
	if err := highlevel.Run(context.Background(), "/mnt/hello", ops, nil); err != nil {
		log.Fatal(err)
	}
}

// A directory that is read page by page gives each entry the offset behind it, and stops when there is no room.
func ExampleFiller() {
	names := []string{".", "..", "one", "two", "three"}
	_ = highlevel.Operations{
		Readdir: func(_ *highlevel.Context, _ string, fill highlevel.Filler, off uint64, _ *highlevel.FileInfo, _ bool) error {
			for i := off; i < uint64(len(names)); i++ {
				if !fill.Add(names[i], nil, i+1) {
					break
				}
			}
			return nil
		},
	}
}

// A file that has changed behind the mount's back.
func ExampleFS_InvalidatePath() {
	fs, err := highlevel.New(highlevel.FromFS(os.DirFS("/srv")), nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer fs.Close()
	go fs.Serve(context.Background())
	if err := fs.InvalidatePath("/config"); err != nil && err != syscall.ENOENT { // ENOENT: the kernel has nothing cached
		log.Print(err)
	}
}

// The -o words of libfuse and the fields are two spellings of one thing.
func ExampleConfig_ParseOption() {
	var cfg highlevel.Config
	for _, word := range []string{"kernel_cache", "entry_timeout=2.5", "umask=077", "ro", "subdir=/x"} {
		if known, err := cfg.ParseOption(word); err != nil || !known {
			fmt.Println(word, known, err)
		}
	}
	fmt.Println(cfg.KernelCache, cfg.EntryTimeout == 2500*time.Millisecond, cfg.Umask, cfg.Mount.ReadOnly)
	// Output:
	// subdir=/x false <nil>
	// true true 63 true
}
