//go:build linux

package compat

import (
	"fmt"
	"io"
	"strings"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/highlevel"
)

// HighlevelConfig takes everything that fuse_new understands out of args and puts it into c: the options of the path API,
// and through LowlevelConfig those of the session. With modules, what nobody else knows goes to c.Options, for them;
// without, it is an error.
func HighlevelConfig(args *opt.Args, c *highlevel.Config) error {
	err := opt.Parse(args, nil, func(arg string, key int, _ *opt.Args) (opt.Action, error) {
		if key == opt.KeyNonOpt || forSession(arg) {
			return opt.KeepArg, nil
		}
		known, err := c.ParseOption(arg)
		if known || err != nil {
			return opt.Drop, err
		}
		return opt.KeepArg, nil
	})
	if err != nil {
		return err
	}
	// What is left of -o is in one place now.
	if len(c.Modules) > 0 && len(args.Argv) > 2 && args.Argv[1] == "-o" {
		var list string
		var n int
		for _, word := range opt.Split(args.Argv[2]) {
			if forSession(word) {
				opt.AddOptEscaped(&list, word)
				n++
			} else {
				c.Options = append(c.Options, word)
			}
		}
		rest := args.Argv[3:]
		args.Argv = args.Argv[:1:1]
		if n > 0 {
			args.Add("-o")
			args.Add(list)
		}
		args.Argv = append(args.Argv, rest...)
	}
	return LowlevelConfig(args, &c.Config)
}

// forSession reports whether an option is LowlevelConfig's although it is no mount option.
func forSession(arg string) bool {
	switch arg {
	case "debug", "-d", "--debug", "io_uring":
		return true
	}
	return strings.HasPrefix(arg, "io_uring_q_depth=")
}

// LibHelp prints the options of HighlevelConfig and of the modules that come with the library, fuse_lib_help.
func LibHelp(w io.Writer) {
	io.WriteString(w, highlevelHelp)
	LowlevelHelp(w)
	io.WriteString(w, "\nOptions for subdir module:\n"+subdirHelp)
	fmt.Fprintf(w, "\nOptions for iconv module:\n"+iconvHelp, highlevel.LocaleCharset())
}

const (
	highlevelHelp = `    -o kernel_cache        cache files in kernel
    -o [no]auto_cache      enable caching based on modification times (off)
    -o no_rofd_flush       disable flushing of read-only fd on close (off)
    -o umask=M             set file permissions (octal)
    -o fmask=M             set file permissions (octal)
    -o dmask=M             set dir  permissions (octal)
    -o uid=N               set file owner
    -o gid=N               set file group
    -o entry_timeout=T     cache timeout for names (1.0s)
    -o negative_timeout=T  cache timeout for deleted names (0.0s)
    -o attr_timeout=T      cache timeout for attributes (1.0s)
    -o ac_attr_timeout=T   auto cache timeout for attributes (attr_timeout)
    -o noforget            never forget cached inodes
    -o remember=T          remember cached inodes for T seconds (0s)
    -o modules=M1[:M2...]  names of modules to push onto filesystem stack
`
	subdirHelp = `    -o subdir=DIR	    prepend this directory to all paths (mandatory)
    -o [no]rellinks	    transform absolute symlinks to relative
`
	iconvHelp = `    -o from_code=CHARSET   original encoding of file names (default: UTF-8)
    -o to_code=CHARSET     new encoding of the file names (default: %s)
`
)
