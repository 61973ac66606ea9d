//go:build linux

// Invalidate_path is a file system of two files that change by themselves, although the kernel may keep what it knows of them
// for ever: the server tells it, by path, to ask again.
//
//	invalidate_path [options] [--update-interval=SECS] [--no-notify] [--timeout=SECS] <mountpoint>
//
// The file current_time has the time in it, the file growing grows by a byte at a time. With --no-notify they stay what they
// were when they were read first, until the timeout.
//
// It also shows what compat.Main consists of, for programs that need the *highlevel.FS beside the operations.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/session"
)

const (
	timeFile = "current_time"
	growFile = "growing"

	help = `File-system specific options:
    --update-interval=<secs>  Update-rate of file system contents
    --no-notify            Disable kernel notifications
    --timeout=<secs>       How long the kernel may keep what it knows

`
)

func main() { os.Exit(run(os.Args)) }

func run(argv []string) int {
	s := server{updateInterval: 1, timeout: 500000} // there is no way to say for ever
	args := opt.NewArgs(argv...)
	err := opt.Parse(args, []opt.Opt{
		opt.Set("--no-notify", &s.noNotify, true),
		opt.Scan("--update-interval=%d", &s.updateInterval),
		opt.Scan("--timeout=%d", &s.timeout),
	}, nil)
	if err != nil {
		return fail(err)
	}
	o, err := compat.ParseCmdline(args)
	switch {
	case err != nil:
		return fail(err)
	case o.ShowVersion:
		fmt.Printf("FUSE library version %s\n", compat.PackageVersion)
		compat.LowlevelVersion(os.Stdout)
		return 0
	case o.ShowHelp:
		fmt.Printf("usage: %s [options] <mountpoint>\n\n%s", argv[0], help)
		compat.CmdlineHelp(os.Stdout)
		compat.LibHelp(os.Stdout)
		return 0
	case o.Mountpoint == "":
		return fail(errors.New("error: no mountpoint specified"))
	}
	// From here on there are two processes, one that waits and one that serves, unless -f was given.
	d, err := compat.Daemonize(o.Foreground)
	if err != nil {
		return fail(err)
	}
	var c hl.Config
	o.Apply(&c.Config)
	if err := compat.HighlevelConfig(args, &c); err != nil {
		defer d.Fail(1) // after the message: who waits for the first process may read no more then
		return fail(err)
	}
	fs, err := hl.New(s.operations(), &c, nil)
	if err == nil {
		err = s.serve(fs, o.Mountpoint, d)
	}
	if err == nil {
		return 0
	}
	defer d.Fail(1)
	if _, signalled := errors.AsType[*session.SignalError](err); signalled {
		return 1
	}
	return fail(err)
}

func fail(err error) int {
	compat.Log(compat.LogErr, "%v", err)
	return 1
}

// serve is the life of the mount.
func (s *server) serve(fs *hl.FS, dir string, d *session.Daemon) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var updating sync.WaitGroup
	defer func() {
		cancel()
		updating.Wait()
		err = errors.Join(err, fs.Close()) // unmounts, too
	}()
	s.update()
	fs.Session().HandleSignals()
	if err := fs.Mount(ctx, dir); err != nil {
		return err
	}
	updating.Go(func() {
		select {
		case <-fs.Session().Ready():
			d.Ready() // the process that waits ends
			s.keepUpdating(ctx, fs)
		case <-ctx.Done():
		}
	})
	return fs.Serve(ctx)
}

// server is the file system.
type server struct {
	noNotify                bool
	updateInterval, timeout int // seconds

	mu      sync.Mutex
	time    string // the contents of timeFile
	size    int    // of growFile
	updates int
}

// update changes the files.
func (s *server) update() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.time = time.Now().Format("The current time is 15:04:05\n")
	s.size = s.updates
	s.updates++
}

func (s *server) keepUpdating(ctx context.Context, fs *hl.FS) {
	tick := time.NewTicker(time.Duration(max(s.updateInterval, 1)) * time.Second)
	defer tick.Stop()
	for {
		s.update()
		for _, name := range []string{timeFile, growFile} {
			if s.noNotify {
				break
			}
			// ENOENT: the kernel has not asked for that file yet.
			if err := fs.InvalidatePath("/" + name); err != nil && !errors.Is(err, syscall.ENOENT) && ctx.Err() == nil {
				compat.Log(compat.LogErr, "%s is not invalidated: %v", name, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) operations() *hl.Operations {
	return &hl.Operations{Init: s.init, Getattr: s.getattr, Readdir: readdir, Open: open, Read: s.read}
}

func (s *server) init(_ *hl.Conn, cfg *hl.Config) (any, error) {
	cfg.EntryTimeout = time.Duration(s.timeout) * time.Second
	cfg.AttrTimeout = cfg.EntryTimeout
	cfg.NegativeTimeout = 0
	return nil, nil
}

func (s *server) getattr(_ *hl.Context, path string, st *hl.Stat, _ *hl.FileInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch path {
	case "/":
		st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 1
	case "/" + timeFile:
		st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, uint64(len(s.time))
	case "/" + growFile:
		st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, uint64(s.size)
	default:
		return syscall.ENOENT
	}
	return nil
}

func readdir(_ *hl.Context, path string, fill hl.Filler, _ uint64, _ *hl.FileInfo, _ bool) error {
	if path != "/" {
		return syscall.ENOTDIR
	}
	fill.Add(timeFile, &hl.Stat{Mode: syscall.S_IFREG}, 0)
	fill.Add(growFile, &hl.Stat{Mode: syscall.S_IFREG}, 0)
	return nil
}

// open has the kernel keep its pages after the last close, too, which makes the effects easier to see.
func open(_ *hl.Context, _ string, fi *hl.FileInfo) error {
	fi.KeepCache = true
	return nil
}

func (s *server) read(_ *hl.Context, path string, p []byte, off int64, _ *hl.FileInfo) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path == "/"+timeFile {
		return copy(p, s.time[min(off, int64(len(s.time))):]), nil
	}
	n := min(len(p), s.size-int(min(off, int64(s.size))))
	for i := range n {
		p[i] = 'x'
	}
	return n, nil
}
