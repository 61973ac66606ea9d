//go:build linux

package compat

import (
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/purefuse/purefuse/wire"
)

const (
	// Version is the version of libfuse whose API this is, as major*100+minor: FUSE_VERSION, and what fuse_version returns.
	Version = 319
	// PackageVersion is that version in words, fuse_pkgversion.
	PackageVersion = "3.19.0"
)

// CmdlineHelp prints the options of ParseCmdline, fuse_cmdline_help.
func CmdlineHelp(w io.Writer) { io.WriteString(w, cmdlineHelp) }

// LowlevelHelp prints the options of LowlevelConfig that users care for, fuse_lowlevel_help.
func LowlevelHelp(w io.Writer) { io.WriteString(w, lowlevelHelp) }

// LowlevelVersion prints the version of the protocol and of the mount helper, fuse_lowlevel_version.
func LowlevelVersion(w io.Writer) {
	fmt.Fprintf(w, "using FUSE kernel interface version %d.%d\n", wire.KernelMajor, wire.KernelMinor)
	helper := exec.Command("fusermount3", "--version")
	helper.Stdout, helper.Stderr = w, os.Stderr
	if err := helper.Run(); err != nil {
		Log(LogErr, "Running 'fusermount3 --version' failed")
	}
}

// printVersion is what -V prints.
func printVersion(w io.Writer) {
	fmt.Fprintf(w, "FUSE library version %s\n", PackageVersion)
	LowlevelVersion(w)
}

const (
	cmdlineHelp = `    -h   --help            print help
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
	lowlevelHelp = `    -o allow_other         allow access by all users
    -o allow_root          allow access by root
    -o auto_unmount        auto unmount on process termination
    -o io_uring            enable io-uring
    -o io_uring_q_depth=<n> io-uring queue depth
`
)
