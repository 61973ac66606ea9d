//go:build linux

package compat

import (
	"fmt"
	"os"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/lowlevel"
)

// LowlevelProgram is the main function of a low-level server without what all of them share.
type LowlevelProgram struct {
	Help     string    // what -h prints between the usage line and the common options
	MoreHelp string    // what -h prints at the end
	Options  []opt.Opt // the program's own options; they are parsed after those of CmdlineOpts
	Proc     opt.Proc  // for their keys; may be nil

	// New makes the file system when the command line is read and c is filled in from it. It runs before the program goes
	// into the background, and so once in each of both processes. An error is logged, and the exit code is 1.
	New func(o *CmdlineOpts, c *lowlevel.Config) (*lowlevel.Operations, error)

	// Session is called with the session before it is mounted, in the process that serves: for what runs beside the
	// operations, from Session.Ready to Session.Done. It may be nil.
	Session func(s *lowlevel.Session)
}

// LowlevelMain is the main function of libfuse's low-level examples. It mounts, goes into the background unless -f or -d
// is given, serves until the file system is unmounted or a signal comes, and returns the exit code: 0, or 1 after any
// failure and after a signal. From the background the code goes to the waiting parent, which exits when the mount works.
func LowlevelMain(argv []string, p *LowlevelProgram) int {
	args := opt.NewArgs(argv...)
	o, err := ParseCmdline(args)
	if err != nil {
		Log(LogErr, "%v", err)
		return 1
	}
	switch {
	case o.ShowHelp:
		fmt.Printf("usage: %s [options] <mountpoint>\n\n%s", argv[0], p.Help)
		CmdlineHelp(os.Stdout)
		LowlevelHelp(os.Stdout)
		fmt.Print(p.MoreHelp)
		return 0
	case o.ShowVersion:
		printVersion(os.Stdout)
		return 0
	case o.Mountpoint == "":
		fmt.Printf("usage: %s [options] <mountpoint>\n       %s --help\n", argv[0], argv[0])
		return 1
	}
	c := &lowlevel.Config{Debug: o.Debug}
	o.Apply(c)
	ops, err := p.prepare(args, o, c)
	if err != nil {
		report(c, err)
		return 1
	}
	d, err := Daemonize(o.Foreground)
	if err != nil {
		report(c, err)
		return 1
	}
	s, err := lowlevel.New(ops, c)
	if err == nil {
		if p.Session != nil {
			p.Session(s)
		}
		err = run(s, s, o.Mountpoint, d, logger(c))
	}
	if err != nil {
		report(c, err)
		d.Fail(1)
		return 1
	}
	return 0
}

// prepare is what can fail before the program goes into the background.
func (p *LowlevelProgram) prepare(args *opt.Args, o *CmdlineOpts, c *lowlevel.Config) (*lowlevel.Operations, error) {
	if err := opt.Parse(args, p.Options, p.Proc); err != nil {
		return nil, err
	}
	logger(c)
	ops, err := p.New(o, c)
	if err != nil {
		return nil, err
	}
	return ops, LowlevelConfig(args, c)
}
