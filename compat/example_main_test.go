//go:build linux

package compat_test

import (
	"os"
	"syscall"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/lowlevel"
)

// The main function of a program on the path API, with an option of its own: prog --greeting=TEXT /mnt.
func ExampleMain() {
	greeting := "Hello World!\n"
	args := opt.NewArgs(os.Args...)
	if err := opt.Parse(args, []opt.Opt{opt.Scan("--greeting=%s", &greeting)}, nil); err != nil {
		compat.Log(compat.LogErr, "%v", err)
		os.Exit(1)
	}
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			switch path {
			case "/":
				st.Mode = syscall.S_IFDIR | 0o755
			case "/greeting":
				st.Mode, st.Size = syscall.S_IFREG|0o444, uint64(len(greeting))
			default:
				return syscall.ENOENT
			}
			return nil
		},
		Read: func(_ *highlevel.Context, _ string, p []byte, off int64, _ *highlevel.FileInfo) (int, error) {
			return copy(p, greeting[min(off, int64(len(greeting))):]), nil
		},
	}
	os.Exit(compat.Main(args.Argv, ops, nil))
}

// The main function of a program on the low-level API, with an option of its own: prog -o answer=ERRNO /mnt.
func ExampleLowlevelMain() {
	answer := int(syscall.EIO)
	os.Exit(compat.LowlevelMain(os.Args, &compat.LowlevelProgram{
		MoreHelp: "    -o answer=<n>          what every lookup is answered with\n",
		Options:  []opt.Opt{opt.Scan("answer=%d", &answer)},
		New: func(*compat.CmdlineOpts, *lowlevel.Config) (*lowlevel.Operations, error) {
			return &lowlevel.Operations{
				Lookup: func(r lowlevel.EntryReq, _ lowlevel.NodeID, _ lowlevel.Name) { r.ReplyErr(syscall.Errno(answer)) },
			}, nil
		},
	}))
}
