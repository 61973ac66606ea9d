//go:build linux

package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// Program is an example's main function without what all of them share.
type Program struct {
	Help     string // what -h prints below the usage line
	MoreHelp string // what it prints at the end
	Option   Option // the example's own options; may be nil

	// New makes the file system when the command line is read, with c filled in from it. It is called before the program
	// goes into the background, and so once in each of both processes.
	New func(o *Options, c *lowlevel.Config) (*lowlevel.Operations, error)
}

// Main is the main function of a low-level libfuse example: it mounts, goes into the background unless told otherwise,
// serves until the file system is unmounted or a signal comes, and returns the exit code: 0, or 1 after any failure and
// after a signal. In the background the code goes to the waiting parent process, which exits when the mount works.
func Main(p Program) int {
	o, err := Parse(os.Args, p.Option)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch {
	case o.ShowHelp:
		fmt.Printf("usage: %s [options] <mountpoint>\n\n", os.Args[0])
		fmt.Print(p.Help, HelpCommandLine, HelpLowlevel, p.MoreHelp)
		return 0
	case o.ShowVersion:
		PrintVersion()
		return 0
	case o.Mountpoint == "":
		fmt.Printf("usage: %s [options] <mountpoint>\n       %s --help\n", os.Args[0], os.Args[0])
		return 1
	}
	c := o.Config()
	ops, err := p.New(o, c)
	if err == nil {
		err = o.Unknown()
	}
	if err != nil {
		c.Logger.Error(err.Error())
		return 1
	}
	daemon, err := session.Daemonize(session.DaemonOptions{NoBackground: o.Foreground})
	if err != nil {
		c.Logger.Error(err.Error())
		return 1
	}
	if err := serve(o.Mountpoint, ops, c, daemon); err != nil {
		report(c.Logger, err)
		daemon.Fail(1)
		return 1
	}
	return 0
}

// serve is the life of a session.
func serve(dir string, ops *lowlevel.Operations, c *lowlevel.Config, daemon *session.Daemon) error {
	ctx := context.Background()
	s, err := lowlevel.New(ops, c)
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil { // it unmounts, too
			c.Logger.Error(err.Error())
		}
	}()
	if c.Debug {
		c.Logger.Log(ctx, lowlevel.LevelTrace, "FUSE library version: "+libraryVersion)
	}
	s.HandleSignals()
	if err := s.Mount(ctx, dir); err != nil {
		return err
	}
	served := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		select {
		case <-s.Ready():
			daemon.Ready() // the parent exits
		case <-served:
		}
	}()
	err = s.Serve(ctx)
	close(served)
	<-told
	return err
}

// report prints why a session ended, unless a signal ended it or the library has said it.
func report(log *slog.Logger, err error) {
	if _, ok := errors.AsType[*session.SignalError](err); ok {
		return
	}
	if _, ok := errors.AsType[*lowlevel.InitError](err); ok {
		return
	}
	log.Error(err.Error())
}

// Config is a session's configuration as the command line has it, which logs plain lines to standard error.
func (o *Options) Config() *lowlevel.Config {
	level := slog.LevelInfo
	if o.Debug {
		level = lowlevel.LevelTrace
	}
	c := &lowlevel.Config{
		Logger:  slog.New(lowlevel.NewLineHandler(os.Stderr, level)),
		Debug:   o.Debug,
		Mount:   o.Mount,
		Workers: int(min(o.MaxThreads, math.MaxInt32)),
		CloneFD: o.CloneFD,
	}
	if o.MaxIdleThreads != ^uint32(0) {
		c.MaxIdle = int(min(max(o.MaxIdleThreads, 1), math.MaxInt32))
	}
	if o.SingleThread {
		c.Workers = 1
	}
	return c
}

// HelpCommandLine is what libfuse's fuse_cmdline_help prints.
const HelpCommandLine = `    -h   --help            print help
    -V   --version         print version
    -d   -o debug          enable debug output (implies -f)
    -f                     foreground operation
    -s                     disable multi-threaded operation
    -o clone_fd            use separate fuse device fd for each thread
                           (may improve performance)
    -o max_idle_threads    the maximum number of idle worker threads
                           allowed (default: -1)
    -o max_threads         the maximum number of worker threads
                           allowed (default: 10)
`

// HelpLowlevel is what libfuse's fuse_lowlevel_help prints.
const HelpLowlevel = `    -o allow_other         allow access by all users
    -o allow_root          allow access by root
    -o auto_unmount        auto unmount on process termination
    -o io_uring            enable io-uring
    -o io_uring_q_depth=<n> io-uring queue depth
`

// libraryVersion is the version of libfuse whose behaviour this is.
const libraryVersion = "3.19.0"

// PrintVersion prints what -V does: our version, the protocol's, and the mount helper's.
func PrintVersion() {
	fmt.Printf("FUSE library version %s (purefuse)\n", libraryVersion)
	fmt.Printf("using FUSE kernel interface version %d.%d\n", wire.KernelMajor, wire.KernelMinor)
	helper := exec.Command("fusermount3", "--version")
	helper.Stdout, helper.Stderr = os.Stdout, os.Stderr
	if err := helper.Run(); err != nil {
		io.WriteString(os.Stderr, "Running 'fusermount3 --version' failed\n")
	}
}
