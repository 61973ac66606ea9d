//go:build linux

package compat

import (
	"errors"
	"fmt"
	"os"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
)

// Main is fuse_main: it reads the command line, mounts, goes into the background unless -f or -d is given, and serves until
// the file system is unmounted or a signal comes. private becomes Context.Private unless ops.Init returns something else. A
// program with options of its own takes them out of its arguments first, with opt.Parse. It returns libfuse's exit codes:
//
//	0  unmounted; or help or the version was asked for
//	1  the command line is wrong
//	2  there is no mount point
//	3  the options are wrong, or the file system cannot be made
//	4  the mount failed
//	8  a signal came, FUSE_INIT failed, or the connection
//
// and a negative errno if there is no way into the background. 5, 6 and 7 are for what cannot fail here. From the background
// only two codes arrive: the waiting parent process, which exits when the mount works, returns 0, or 1 after any failure.
//
// A first argument "" leaves out the usage line of -h, for programs that print their own.
func Main(argv []string, ops *highlevel.Operations, private any) int {
	args := opt.NewArgs(argv...)
	o, err := ParseCmdline(args)
	if err != nil {
		Log(LogErr, "%v", err)
		return 1
	}
	switch {
	case o.ShowVersion:
		printVersion(os.Stdout)
		return 0
	case o.ShowHelp:
		if argv[0] != "" {
			fmt.Printf("usage: %s [options] <mountpoint>\n\n", argv[0])
		}
		fmt.Println("FUSE options:")
		CmdlineHelp(os.Stdout)
		LibHelp(os.Stdout)
		return 0
	case o.Mountpoint == "":
		Log(LogErr, "error: no mountpoint specified")
		return 2
	}
	d, err := Daemonize(o.Foreground)
	if err != nil {
		Log(LogErr, "fuse: daemonize_early_start failed: %v", err)
		return -int(lowlevel.ErrnoOf(err))
	}
	c := new(highlevel.Config)
	o.Apply(&c.Config)
	code := 3
	err = HighlevelConfig(args, c)
	if err == nil {
		var fs *highlevel.FS
		if fs, err = highlevel.New(ops, c, private); err == nil {
			err = run(fs, fs.Session(), o.Mountpoint, d, logger(&c.Config))
			code = runCode(err)
		}
	}
	if err == nil {
		return 0
	}
	report(&c.Config, err)
	d.Fail(1)
	return code
}

// runCode is the exit code for what run returned.
func runCode(err error) int {
	if err == nil {
		return 0
	}
	_, early := errors.AsType[*mountError](err)
	_, init := errors.AsType[*lowlevel.InitError](err)
	_, signal := errors.AsType[*session.SignalError](err) // which ends Mount, too
	if early && !init && !signal {
		return 4
	}
	return 8
}
