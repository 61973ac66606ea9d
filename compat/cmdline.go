//go:build linux

package compat

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/lowlevel"
)

// CmdlineOpts is what every libfuse program understands on its command line, struct fuse_cmdline_opts.
type CmdlineOpts struct {
	SingleThread     bool   // -s
	Foreground       bool   // -f, -d
	Debug            bool   // -d; the option stays in the arguments, for the session
	NoDefaultSubtype bool   // fsname= or subtype= was given, and stays in the arguments
	Mountpoint       string // absolute and without symlinks, or /dev/fd/N; "": there was none
	ShowVersion      bool   // -V
	ShowHelp         bool   // -h
	CloneFD          bool   // clone_fd
	MaxIdleThreads   uint32 // max_idle_threads=; MaxUint32: not given
	MaxThreads       uint32 // max_threads=; 10 if it was not given
}

const (
	defaultMaxThreads = 10
	idleThreadsLimit  = 100000 // more than that is refused
)

// ParseCmdline takes the options of CmdlineOpts and the mount point out of args, fuse_parse_cmdline. It is no error if
// the mount point is missing. Unless fsname= or subtype= was given it appends -osubtype= with the last element of the
// program's name; as in libfuse a comma in that name is not escaped.
func ParseCmdline(args *opt.Args) (*CmdlineOpts, error) { return parseCmdline(args, resolve) }

// ParseServiceCmdline is ParseCmdline for a server that mounts through a service helper: the mount point is in the
// helper's file system, and taken as it is. It is fuse_service_parse_cmdline_opts.
func ParseServiceCmdline(args *opt.Args) (*CmdlineOpts, error) {
	return parseCmdline(args, func(arg string) (string, error) { return arg, nil })
}

func parseCmdline(args *opt.Args, mountpoint func(string) (string, error)) (*CmdlineOpts, error) {
	if len(args.Argv) == 0 {
		return nil, errors.New("fuse: empty argv passed to fuse_parse_cmdline()")
	}
	o := &CmdlineOpts{MaxIdleThreads: math.MaxUint32, MaxThreads: defaultMaxThreads}
	err := opt.Parse(args, []opt.Opt{
		opt.Set("-h", &o.ShowHelp, true),
		opt.Set("--help", &o.ShowHelp, true),
		opt.Set("-V", &o.ShowVersion, true),
		opt.Set("--version", &o.ShowVersion, true),
		opt.Set("-d", &o.Debug, true),
		opt.Set("debug", &o.Debug, true),
		opt.Set("-d", &o.Foreground, true),
		opt.Set("debug", &o.Foreground, true),
		opt.Keep("-d"),
		opt.Keep("debug"),
		opt.Set("-f", &o.Foreground, true),
		opt.Set("-s", &o.SingleThread, true),
		opt.Set("fsname=", &o.NoDefaultSubtype, true),
		opt.Keep("fsname="),
		opt.Set("subtype=", &o.NoDefaultSubtype, true),
		opt.Keep("subtype="),
		opt.Set("clone_fd", &o.CloneFD, true),
		opt.Scan("max_idle_threads=%u", &o.MaxIdleThreads),
		opt.Scan("max_threads=%u", &o.MaxThreads),
	}, func(arg string, key int, _ *opt.Args) (opt.Action, error) {
		switch {
		case key != opt.KeyNonOpt:
			return opt.KeepArg, nil
		case o.Mountpoint != "":
			return opt.Drop, fmt.Errorf("fuse: invalid argument `%s'", arg)
		}
		var err error
		o.Mountpoint, err = mountpoint(arg)
		return opt.Drop, err
	})
	if err != nil {
		return nil, err
	}
	if !o.NoDefaultSubtype {
		args.Add("-osubtype=" + programName(args.Argv[0]))
	}
	return o, nil
}

// programName is what follows the last slash, with the slash if nothing does.
func programName(arg0 string) string {
	if i := strings.LastIndexByte(arg0, '/'); i >= 0 && i+1 < len(arg0) {
		return arg0[i+1:]
	} else if i >= 0 {
		return arg0[i:]
	}
	return arg0
}

// resolve is the mount point that a word of the command line means.
func resolve(arg string) (string, error) {
	if isDescriptor(arg) {
		return arg, nil
	}
	path, err := realpath(arg)
	if err != nil {
		return "", fmt.Errorf("fuse: bad mount point `%s': %s", arg, Strerror(err))
	}
	return path, nil
}

// isDescriptor reports whether path is /dev/fd/N, an open descriptor of a mount that somebody else made.
func isDescriptor(path string) bool {
	n, ok := strings.CutPrefix(path, "/dev/fd/")
	if !ok || strings.HasPrefix(n, "+") {
		return false
	}
	_, err := strconv.ParseUint(n, 10, 31)
	return err == nil
}

// realpath is realpath(3). Not filepath.EvalSymlinks: that takes "link/.." for the directory that holds the link, and
// asks a dead mount for its attributes.
func realpath(path string) (string, error) {
	if path == "" {
		return "", syscall.ENOENT
	}
	done := "" // the root
	if path[0] != '/' {
		dir, err := syscall.Getwd() // not os.Getwd, which may return a path with symlinks
		if err != nil {
			return "", err
		}
		done = strings.TrimRight(dir, "/")
	}
	rest := path
	for links := 0; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			break
		}
		name := rest
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			name = rest[:i]
		}
		rest = rest[len(name):]
		switch name {
		case ".":
			continue
		case "..":
			done = done[:max(strings.LastIndexByte(done, '/'), 0)]
			continue
		}
		next := done + "/" + name
		target, err := os.Readlink(next)
		switch {
		case err == nil:
			if links++; links > 40 {
				return "", syscall.ELOOP
			}
			if rest = target + rest; target != "" && target[0] == '/' {
				done = ""
			}
			continue
		case !errors.Is(err, syscall.EINVAL):
			return "", err
		case mustBeDirectory(rest):
			if _, err := os.Stat(next + "/"); err != nil {
				return "", err
			}
		}
		done = next
	}
	if done == "" {
		return "/", nil
	}
	return done, nil
}

// mustBeDirectory reports whether what follows a name says that it is a directory without a look into it that would fail.
func mustBeDirectory(rest string) bool {
	for strings.HasPrefix(rest, "/") {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" || rest == ".." || strings.HasPrefix(rest, "../") {
			return true
		}
		if rest != "." && !strings.HasPrefix(rest, "./") {
			return false
		}
		rest = rest[1:]
		if rest == "" {
			return true
		}
	}
	return false
}

// Strerror is an error's errno in the C library's words, for messages that are to read as a C program's.
func Strerror(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		text = e.Error()
	}
	return strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):]
}

// Apply sets the workers of a session as the command line has them, what fuse_main does with the fuse_loop_cfg_set_*
// functions. What was not given leaves the library's own defaults, of which the number of idle workers is not libfuse's.
func (o *CmdlineOpts) Apply(c *lowlevel.Config) {
	c.CloneFD = o.CloneFD
	switch {
	case o.SingleThread || o.MaxThreads == 0:
		c.Workers = 1
	case o.MaxThreads != defaultMaxThreads:
		c.Workers = int(min(o.MaxThreads, math.MaxInt32))
	}
	switch {
	case o.SingleThread || o.MaxIdleThreads == math.MaxUint32:
		return
	case o.MaxIdleThreads > idleThreadsLimit:
		logger(c).Error(fmt.Sprintf("Ignoring invalid max threads value %d > max (%d).", o.MaxIdleThreads, idleThreadsLimit))
		return
	case o.MaxIdleThreads > o.MaxThreads:
		logger(c).Warn(fmt.Sprintf("fuse: max_idle_threads %d is greater than max_threads %d", o.MaxIdleThreads, o.MaxThreads))
	}
	c.MaxIdle = int(max(o.MaxIdleThreads, 1))
}
