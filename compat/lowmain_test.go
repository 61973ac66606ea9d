//go:build linux

package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/purefuse/purefuse/compat/opt"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/stretchr/testify/require"
)

// lowProgram is a low-level server of an empty directory. Its own option code= fails Init with that errno, size= is the
// root's size.
var lowProgram = childProgram("low", func() int {
	var code, size uint32
	return LowlevelMain(os.Args, &LowlevelProgram{
		Help:     "help\n",
		MoreHelp: "    -o size=N\n",
		Options:  []opt.Opt{opt.Scan("code=%u", &code), opt.Scan("size=%u", &size), opt.Discard("nonempty")},
		New: func(o *CmdlineOpts, c *ll.Config) (*ll.Operations, error) {
			if size == 13 {
				return nil, fmt.Errorf("size %d of %s is bad", size, o.Mountpoint)
			}
			ops := &ll.Operations{Getattr: func(r ll.AttrReq, ino ll.NodeID, _ *ll.FileInfo) {
				r.ReplyAttr(&ll.Stat{Ino: 1, Mode: syscall.S_IFDIR | 0o755, Nlink: 2, Size: uint64(size)}, 0)
			}}
			if code != 0 {
				ops.Init = func(*ll.Conn) error { return syscall.Errno(code) }
			}
			return ops, nil
		},
	})
})

func TestLowlevelMainWithoutMount(t *testing.T) {
	version, err := exec.Command("fusermount3", "--version").CombinedOutput()
	require.NoError(t, err, "needs fusermount3")
	dir := t.TempDir()
	for _, c := range []struct {
		argv     []string
		code     int
		out, err string
	}{
		{words("low", "-h"), 0, "usage: low [options] <mountpoint>\n\nhelp\n" + cmdlineHelp + lowlevelHelp + "    -o size=N\n", ""},
		{words("low", "-V", "-x"), 0, "FUSE library version 3.19.0\nusing FUSE kernel interface version 7.46\n" + string(version), ""},
		{words("low"), 1, "usage: low [options] <mountpoint>\n       low --help\n", ""},
		{words("low", "/nonexistent"), 1, "", "fuse: bad mount point `/nonexistent': No such file or directory\n"},
		{words("low", dir, "b"), 1, "", "fuse: invalid argument `b'\n"},
		{words("low", dir, "-osize=x"), 1, "", "fuse: invalid parameter in option `size=x'\n"},
		{words("low", dir, "-osize=13"), 1, "", "size 13 of " + dir + " is bad\n"},
		{words("low", dir, "-o", "size=1,foo,ro,nonempty"), 1, "", "fuse: unknown option(s): `-o foo'\n"},
		{words("low", dir, "-f", "-o", "max_idle_threads=20,foo"), 1, "",
			"fuse: max_idle_threads 20 is greater than max_threads 10\nfuse: unknown option(s): `-o foo'\n"},
	} {
		p := start(t, lowProgram, nil, c.argv...)
		require.Equal(t, c.code, p.code(t), "%s: %s", c.argv, p.err.String())
		require.Equal(t, c.out, p.out.String(), c.argv)
		require.Equal(t, c.err, p.err.String(), c.argv)
	}
}

func TestVersionWithoutHelper(t *testing.T) {
	p := start(t, lowProgram, words("PATH=/nonexistent"), "low", "-V")
	require.Zero(t, p.code(t))
	require.Equal(t, "Running 'fusermount3 --version' failed\n", p.err.String())
}

func TestLowlevelMainForeground(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountpoint(t)
	t.Run("unmounted", func(t *testing.T) {
		p := start(t, lowProgram, nil, "./my,low", "-f", "-ofsname=x,subtype=low", "-s", dir)
		waitMounted(t, p, dir)
		require.Equal(t, "fuse.low", fsType(t, dir))
		unmount(t, dir)
		require.Zero(t, p.code(t))
		require.Empty(t, p.out.String()+p.err.String())
	})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			p := start(t, lowProgram, nil, "low", "-f", dir)
			waitMounted(t, p, dir)
			require.Equal(t, "fuse.low", fsType(t, dir))
			require.NoError(t, p.Process.Signal(sig))
			require.Equal(t, 1, p.code(t))
			require.Empty(t, p.out.String()+p.err.String())
			require.Empty(t, fsType(t, dir))
		})
	}
	t.Run("debug", func(t *testing.T) {
		p := start(t, lowProgram, nil, "low", "-d", dir)
		waitMounted(t, p, dir)
		unmount(t, dir)
		require.Zero(t, p.code(t))
		require.Contains(t, p.err.String(), "FUSE library version: 3.19.0\n")
		require.Contains(t, p.err.String(), "opcode: INIT (26)")
	})
	t.Run("init fails", func(t *testing.T) {
		p := start(t, lowProgram, nil, "low", "-f", "-ocode=5", dir)
		require.Equal(t, 1, p.code(t))
		require.Contains(t, p.err.String(), "input/output error")
		require.Empty(t, fsType(t, dir))
	})
	t.Run("mount fails", func(t *testing.T) {
		p := start(t, lowProgram, nil, "low", "-f", "-oblkdev", dir)
		require.Equal(t, 1, p.code(t))
		require.Contains(t, p.err.String(), "blkdev")
	})
}

func TestLowlevelMainBackground(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountpoint(t)
	t.Run("works", func(t *testing.T) {
		p := start(t, lowProgram, nil, "low", "-osize=77", filepath.Dir(dir)+"/./mnt/")
		require.Zero(t, p.code(t))
		require.Empty(t, p.out.String()+p.err.String())
		// It serves when the parent has gone.
		require.Equal(t, "fuse.low", fsType(t, dir))
		st, err := os.Stat(dir)
		require.NoError(t, err)
		require.EqualValues(t, 77, st.Size())
		unmount(t, dir)
		orphans(t)
	})
	for name, list := range map[string]string{"init fails": "-ocode=5", "mount fails": "-oblkdev"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, lowProgram, nil, "low", list, dir)
			require.Equal(t, 1, p.code(t))
			require.NotEmpty(t, p.err.String())
			require.Empty(t, fsType(t, dir))
			orphans(t)
		})
	}
}

func TestLoopResult(t *testing.T) {
	require.Zero(t, LoopResult(nil))
	require.Equal(t, int(syscall.SIGTERM), LoopResult(fmt.Errorf("x: %w", &session.SignalError{Signal: syscall.SIGTERM})))
	require.Equal(t, -int(syscall.EPROTO), LoopResult(&ll.InitError{Err: syscall.EPROTO}))
	require.Equal(t, -int(syscall.EIO), LoopResult(fmt.Errorf("x")))
}
