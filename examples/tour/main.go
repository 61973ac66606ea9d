//go:build linux

// Tour runs the main job once, for somebody who has just cloned the repository: it builds passthrough_ll, mounts it over a
// directory, works in the mount as programs do, prints how long each kind of system call took there and on the directory
// itself, and unmounts.
//
//	go run ./examples/tour
//
// It needs /dev/fuse, and either root or fusermount3 (Debian's package fuse3). Nothing outside a temporary directory is touched.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/moby/sys/mountinfo"
)

func main() {
	keep := flag.Bool("keep", false, "keep the temporary directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := tour(ctx, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
}

func tour(ctx context.Context, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "purefuse-tour-")
	if err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	source, mnt, server := filepath.Join(dir, "source"), filepath.Join(dir, "mnt"), filepath.Join(dir, "passthrough_ll")
	for _, d := range []string{source, mnt} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	fmt.Println("build   passthrough_ll, the loopback file system on the low-level API")
	build := exec.CommandContext(ctx, "go", "build", "-o", server, "github.com/purefuse/purefuse/examples/passthrough_ll")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}

	fmt.Printf("mount   %s -o source=%s %s\n", filepath.Base(server), source, mnt)
	end, err := mount(ctx, server, source, mnt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()

	fmt.Println("work    a tree of files, renames, links, a git repository, then single calls by the clock")
	if err := work(ctx, mnt); err != nil {
		return fmt.Errorf("in the mount: %w", err)
	}
	if err := compare(mnt, source); err != nil {
		return err
	}
	there, err := measure(ctx, mnt)
	if err != nil {
		return err
	}
	native, err := measure(ctx, source)
	if err != nil {
		return err
	}
	fmt.Println()
	print(there, native)
	fmt.Println()
	return nil
}

// mount starts the server and returns when the mount is there; end unmounts and waits for the server.
func mount(ctx context.Context, server, source, mnt string) (end func() error, err error) {
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, server, "-f", "-o", "source="+source, mnt)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it unmounts by itself
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case err := <-over:
			return nil, fmt.Errorf("the server ended: %w\n%s", err, strings.TrimSpace(log.String()))
		case <-tick.C:
		}
		if m, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(mnt)); err == nil && len(m) > 0 {
			fmt.Printf("        %s is a %s now\n", mnt, m[0].FSType)
			return func() error {
				fmt.Println("unmount", mnt)
				if err := unmount(mnt); err != nil {
					cmd.Cancel()
					return errors.Join(err, <-over)
				}
				if err := <-over; err != nil {
					return fmt.Errorf("server: %w\n%s", err, strings.TrimSpace(log.String()))
				}
				fmt.Println("done    the server left with status 0, nothing is left behind")
				return nil
			}, nil
		}
	}
}

func unmount(mnt string) error {
	if os.Geteuid() == 0 {
		return os.NewSyscallError("umount", syscall.Unmount(mnt, 0))
	}
	if out, err := exec.Command("fusermount3", "-u", mnt).CombinedOutput(); err != nil {
		return fmt.Errorf("fusermount3 -u: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// work does in dir what people do in directories.
func work(ctx context.Context, dir string) error {
	for i := range 200 {
		sub := filepath.Join(dir, fmt.Sprintf("d%02d", i%10))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		data := bytes.Repeat([]byte{byte(i)}, i*1000)
		name := filepath.Join(sub, fmt.Sprintf("f%03d", i))
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
		got, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, data) {
			return fmt.Errorf("%s: read back something else", name)
		}
		if i%3 == 0 {
			if err := os.Rename(name, name+".moved"); err != nil {
				return err
			}
			if err := os.Link(name+".moved", name); err != nil {
				return err
			}
		}
		if i%7 == 0 {
			if err := os.Symlink("f000", name+".link"); err != nil {
				return err
			}
		}
	}
	if _, err := exec.LookPath("git"); err != nil {
		return nil
	}
	repo := filepath.Join(dir, "repo")
	for _, args := range [][]string{
		{"init", "-q", repo},
		{"-C", repo, "config", "user.email", "tour@example.org"},
		{"-C", repo, "config", "user.name", "tour"},
		{"-C", repo, "add", "."},
		{"-C", repo, "commit", "-qm", "tour", "--allow-empty"},
		{"-C", repo, "fsck", "--strict"},
	} {
		if out, err := exec.CommandContext(ctx, "git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[len(args)-1], err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// compare checks that the mount and the directory behind it show the same tree.
func compare(mnt, source string) error {
	return filepath.WalkDir(source, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(source, path)
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(mnt, rel))
		if err == nil && !bytes.Equal(a, b) {
			err = fmt.Errorf("%s differs from what lies behind the mount", rel)
		}
		return err
	})
}

// row is one kind of call and how long each of its repetitions took.
type row struct {
	name string
	took []time.Duration
}

func (r row) at(q float64) time.Duration { return r.took[int(q*float64(len(r.took)-1))] }

// measure times single calls in dir.
func measure(ctx context.Context, dir string) ([]row, error) {
	const n = 500
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("m%04d", i)) }
	block := make([]byte, 4096)
	big := make([]byte, 1<<20)
	file, err := os.OpenFile(filepath.Join(dir, "measured"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var rows []row
	for _, c := range []struct {
		name string
		n    int
		f    func(i int) error
	}{
		{"create, close", n, func(i int) error {
			f, err := os.Create(name(i))
			if err != nil {
				return err
			}
			return f.Close()
		}},
		{"stat", n, func(i int) error { _, err := os.Stat(name(i)); return err }},
		{"open, close", n, func(i int) error {
			f, err := os.Open(name(i))
			if err != nil {
				return err
			}
			return f.Close()
		}},
		{"write 4 KiB", n, func(i int) error { _, err := file.WriteAt(block, int64(i)*4096); return err }},
		{"write 1 MiB", 50, func(i int) error { _, err := file.WriteAt(big, int64(i)<<20); return err }},
		{"read 4 KiB", n, func(int) error { _, err := file.ReadAt(block, rand.Int64N(50<<8)*4096); return err }},
		{"read 1 MiB", 50, func(i int) error {
			_, err := file.ReadAt(big, int64(i)<<20)
			if err == io.EOF {
				err = nil
			}
			return err
		}},
		{"list 500 entries", 20, func(int) error { _, err := os.ReadDir(dir); return err }},
		{"unlink", n, func(i int) error { return os.Remove(name(i)) }},
	} {
		r := row{name: c.name}
		for i := range c.n {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			start := time.Now()
			if err := c.f(i); err != nil {
				return nil, err
			}
			r.took = append(r.took, time.Since(start))
		}
		slices.Sort(r.took)
		rows = append(rows, r)
	}
	return rows, os.Remove(file.Name())
}

func print(there, native []row) {
	us := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e3) }
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "microseconds a call\tmedian\t99 %\tmedian without FUSE\t")
	for i, r := range there {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", r.name, us(r.at(0.5)), us(r.at(0.99)), us(native[i].at(0.5)))
	}
	w.Flush()
}
