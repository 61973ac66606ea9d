//go:build linux

// Command bench measures purefuse beside its peers: C libfuse, go-fuse and a C loop without a library.
//
// It builds every server and the client, mounts all servers of a table at once in a mount namespace of its own, lets one
// client visit them in turn, in reversed order every other time, and prints medians and ratios. It never judges by time:
// a target is printed beside what was measured. Run it as root in this directory:
//
//	go run . -quick
//	LIBFUSE_BUILD=/path/to/libfuse/build go run . -md tables.md -json run.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options are the command line.
type Options struct {
	Repeats, Millis, WarmMillis int
	CPU                         int
	Grace                       time.Duration // beyond the measured time, before a connection counts as hung
	Tables                      []string
	Rows, Servers               *regexp.Regexp
	LibfuseBuild                string
	Keep                        bool // leave the servers of the first table mounted until interrupted, and measure nothing
}

func main() {
	// Servers and clients ask for a signal when the thread that started them ends, so that thread is the one that lives longest.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var o Options
	var tables, rows, servers, md, js string
	var quick, list bool
	flag.IntVar(&o.Repeats, "repeats", 5, "visits of every server in every row")
	flag.IntVar(&o.Millis, "ms", 300, "measured milliseconds of one visit")
	flag.IntVar(&o.WarmMillis, "warm", 40, "milliseconds of warm-up before each visit")
	flag.DurationVar(&o.Grace, "grace", 15*time.Second, "how long a visit may exceed its time before the watchdog aborts the connection")
	flag.IntVar(&o.CPU, "cpu", 0, "CPU of the one-CPU tables")
	flag.StringVar(&tables, "tables", "", "comma-separated tables (default: all that are not marked extra)")
	flag.StringVar(&rows, "rows", "", "regular expression that chooses rows")
	flag.StringVar(&servers, "servers", "", "regular expression that chooses servers")
	flag.StringVar(&o.LibfuseBuild, "libfuse-build", os.Getenv("LIBFUSE_BUILD"), "build directory of a newer libfuse (default $LIBFUSE_BUILD)")
	flag.StringVar(&md, "md", "", "write the tables to this file too")
	flag.StringVar(&js, "json", "", "write every median and every sample to this file")
	flag.BoolVar(&quick, "quick", false, "about a minute: 3 repeats of 0.1 s, fewer rows")
	flag.BoolVar(&list, "list", false, "list tables, rows and servers")
	flag.BoolVar(&o.Keep, "keep", false, "mount the servers of the chosen table, print pids and directories, wait for SIGINT")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if quick {
		o.Repeats, o.Millis, o.WarmMillis = 3, 100, 20
	}
	if o.Repeats < 1 || o.Millis < 1 || o.WarmMillis < 0 {
		return errors.New("-repeats and -ms must be positive")
	}
	var err error
	if o.Rows, err = regexp.Compile(rows); err != nil {
		return err
	}
	if o.Servers, err = regexp.Compile(servers); err != nil {
		return err
	}
	if _, err := os.Stat("servers/gofuse"); err != nil {
		return errors.New("run it in its own directory, bench")
	}
	all := Tables()
	if list {
		return printList(os.Stdout, all)
	}
	chosen, err := chooseTables(all, tables, quick)
	if err != nil {
		return err
	}
	if err := ownNamespace(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	start := time.Now()
	rep, err := Run(ctx, &o, chosen, os.Stderr)
	if err != nil {
		return err
	}
	rep.Seconds = time.Since(start).Seconds()
	outs := []io.Writer{os.Stdout}
	if md != "" {
		f, err := os.Create(md)
		if err != nil {
			return err
		}
		defer f.Close()
		outs = append(outs, f)
	}
	if err := rep.Markdown(io.MultiWriter(outs...)); err != nil {
		return err
	}
	if js != "" {
		return rep.WriteJSON(js)
	}
	return nil
}

func chooseTables(all []Table, names string, quick bool) ([]Table, error) {
	var out []Table
	if names == "" {
		for _, t := range all {
			if !t.Extra && !(quick && t.Slow) {
				out = append(out, t)
			}
		}
	} else {
		for name := range strings.SplitSeq(names, ",") {
			i := slices.IndexFunc(all, func(t Table) bool { return t.Name == name })
			if name == "all" {
				out = append(out, all...)
			} else if i < 0 {
				return nil, fmt.Errorf("no table %q; -list shows them", name)
			} else {
				out = append(out, all[i])
			}
		}
	}
	if quick {
		for i := range out {
			out[i].Rows = slices.DeleteFunc(slices.Clone(out[i].Rows), func(r Row) bool { return r.Slow })
		}
	}
	return out, nil
}

func printList(w io.Writer, all []Table) error {
	for _, t := range all {
		mark := ""
		if t.Extra {
			mark = " (extra)"
		}
		fmt.Fprintf(w, "%s%s: %s\n", t.Name, mark, t.Title)
		for _, r := range t.Rows {
			fmt.Fprintf(w, "    row     %-16s %s\n", r.Name, strings.Join(r.Client, " "))
		}
		for _, s := range t.Servers {
			fmt.Fprintf(w, "    server  %s\n", s.Name)
		}
	}
	return nil
}

// inNamespace marks the process that already lives in its own mount namespace.
const inNamespace = "PUREFUSE_BENCH_NS"

// ownNamespace starts the program again in a mount namespace of its own, where a mount that is left behind by a crash
// disappears with the last process.
func ownNamespace() error {
	if os.Getenv(inNamespace) != "" {
		return os.Unsetenv(inNamespace)
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root: it mounts, pins threads and reads schedstat of its servers")
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(exe, os.Args, append(os.Environ(), inNamespace+"=1"))
}

// workDir makes the directory of one run: a tmpfs, so that backing files, binaries and mount points leave with it.
func workDir() (dir string, cleanup func(), err error) {
	if dir, err = os.MkdirTemp("", "purefuse-bench-"); err != nil {
		return "", nil, err
	}
	if err = syscall.Mount("bench", dir, "tmpfs", 0, "mode=0700"); err != nil {
		os.Remove(dir)
		return "", nil, fmt.Errorf("tmpfs on %s: %w", dir, err)
	}
	return dir, func() {
		syscall.Unmount(dir, syscall.MNT_DETACH)
		os.Remove(dir)
	}, nil
}

// makeSource fills the directory that the loopback servers mirror: a warm file, 10,000 names, an empty directory.
func makeSource(dir string) error {
	for _, d := range []string{"many", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	data := make([]byte, sourceSize)
	for i := range data {
		data[i] = byte(i * 7)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o644); err != nil {
		return err
	}
	for i := range manyEntries {
		if err := os.WriteFile(filepath.Join(dir, "many", fmt.Sprintf("entry-%05d", i)), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}
