//go:build linux

// Command passthrough_ll mirrors a directory tree, by default the whole one, on the low-level API. Its command line is that of
// libfuse's example of the same name.
//
// An inode is known by a descriptor opened with O_PATH and found again by device and inode number, so names may change below
// the mount at any time. Requests are carried out with the server's own rights; give -o default_permissions to have the
// kernel check its callers' ones.
package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
)

const help = `    -o writeback           Enable writeback
    -o no_writeback        Disable write back
    -o source=/home/dir    Source directory to be mounted
    -o flock               Enable flock
    -o no_flock            Disable flock
    -o xattr               Enable xattr
    -o no_xattr            Disable xattr
    -o timeout=1.0         Caching timeout
    -o timeout=0/1         Timeout is set
    -o cache=never         Disable cache
    -o cache=auto          Auto enable cache
    -o cache=always        Cache always
`

// cachePolicy is -o cache: what the kernel may keep of files and directories.
type cachePolicy int

const (
	cacheAuto   cachePolicy = iota // as long as the file has not changed
	cacheNever                     // nothing: all I/O is direct
	cacheAlways                    // everything
)

// options are what the example knows beside the options of all low-level servers.
type options struct {
	source                  string
	writeback, flock, xattr bool
	cache                   cachePolicy
	timeout                 float64 // seconds
	timeoutSet              bool
}

// templates say how the options are written.
func (o *options) templates() []opt.Opt {
	return []opt.Opt{
		opt.Set("writeback", &o.writeback, true),
		opt.Set("no_writeback", &o.writeback, false),
		opt.Scan("source=%s", &o.source),
		opt.Set("flock", &o.flock, true),
		opt.Set("no_flock", &o.flock, false),
		opt.Set("xattr", &o.xattr, true),
		opt.Set("no_xattr", &o.xattr, false),
		opt.Scan("timeout=%lf", &o.timeout),
		opt.Set("timeout=", &o.timeoutSet, true),
		opt.Set("cache=never", &o.cache, cacheNever),
		opt.Set("cache=auto", &o.cache, cacheAuto),
		opt.Set("cache=always", &o.cache, cacheAlways),
	}
}

// validity is how long the kernel may believe names and attributes.
func (o *options) validity() (time.Duration, error) {
	if o.timeoutSet {
		if o.timeout < 0 || math.IsNaN(o.timeout) {
			return 0, fmt.Errorf("timeout is negative (%f)", o.timeout)
		}
		if ns := o.timeout * 1e9; ns < math.MaxInt64 {
			return time.Duration(ns), nil
		}
		return math.MaxInt64, nil
	}
	switch o.cache {
	case cacheNever:
		return 0, nil
	case cacheAlways:
		return 24 * time.Hour, nil
	}
	return time.Second, nil
}

// open opens the source directory.
func (o *options) open() (fd int, err error) {
	source := o.source
	if source == "" {
		source = "/"
	}
	st, err := os.Lstat(source)
	if err != nil {
		return -1, fmt.Errorf("failed to stat source (\"%s\"): %s", source, compat.Strerror(err))
	}
	if !st.IsDir() {
		return -1, errors.New("source is not a directory")
	}
	name, err := syscall.BytePtrFromString(source)
	if err != nil {
		return -1, err
	}
	if fd, err = sys.Openat(sys.AtFDCWD, name, sys.OPath, 0); err != nil {
		return -1, fmt.Errorf("open(\"%s\", O_PATH): %s", source, compat.Strerror(err))
	}
	return fd, nil
}

func main() {
	syscall.Umask(0) // the kernel has applied the caller's
	var o options
	os.Exit(compat.LowlevelMain(os.Args, &compat.LowlevelProgram{
		MoreHelp: help,
		Options:  o.templates(),
		New: func(*compat.CmdlineOpts, *ll.Config) (*ll.Operations, error) {
			timeout, err := o.validity()
			if err != nil {
				return nil, err
			}
			root, err := o.open()
			if err != nil {
				return nil, err
			}
			p, err := newPassthrough(&o, root, timeout)
			if err != nil {
				return nil, err
			}
			return p.operations(), nil
		},
	}))
}
