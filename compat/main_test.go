//go:build linux

package compat

import (
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/highlevel"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// highProgram is a file system with one file. envInit is an errno with which Init fails, envFiles a bound for descriptors.
var highProgram = childProgram("high", func() int {
	if v := atoi(os.Getenv(envFiles)); v != 0 {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(v), Max: uint64(v)})
	}
	ops := &highlevel.Operations{
		Getattr: func(_ *highlevel.Context, path string, st *highlevel.Stat, _ *highlevel.FileInfo) error {
			switch path {
			case "/":
				st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 2
			case "/hello":
				st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, 5
			default:
				return syscall.ENOENT
			}
			return nil
		},
		Read: func(c *highlevel.Context, _ string, p []byte, off int64, _ *highlevel.FileInfo) (int, error) {
			text := c.Private.(string)
			return copy(p, text[min(int(off), len(text)):]), nil
		},
	}
	if v := atoi(os.Getenv(envInit)); v != 0 {
		ops.Init = func(*highlevel.Conn, *highlevel.Config) (any, error) { return nil, syscall.Errno(v) }
	}
	return Main(os.Args, ops, "hello")
})

const (
	envInit  = "PUREFUSE_TEST_INIT"
	envFiles = "PUREFUSE_TEST_FILES"
)

func TestMainWithoutMount(t *testing.T) {
	version, err := exec.Command("fusermount3", "--version").CombinedOutput()
	require.NoError(t, err, "needs fusermount3")
	dir := t.TempDir()
	const help = "FUSE options:\n" + cmdlineHelp + highlevelHelp + lowlevelHelp + "\nOptions for subdir module:\n" + subdirHelp +
		"\nOptions for iconv module:\n" +
		"    -o from_code=CHARSET   original encoding of file names (default: UTF-8)\n" +
		"    -o to_code=CHARSET     new encoding of the file names (default: KOI8-R)\n"
	for _, c := range []struct {
		argv     []string
		code     int
		out, err string
	}{
		{words("high", "-h", "-ofoo"), 0, "usage: high [options] <mountpoint>\n\n" + help, ""},
		{words("", "--help"), 0, help, ""},
		{words("high", "-V", "-h", dir), 0, "FUSE library version 3.19.0\nusing FUSE kernel interface version 7.46\n" + string(version), ""},
		{words("high"), 2, "", "error: no mountpoint specified\n"},
		{words("high", "-f", "-ofoo"), 2, "", "error: no mountpoint specified\n"},
		{words("high", "/nonexistent"), 1, "", "fuse: bad mount point `/nonexistent': No such file or directory\n"},
		{words("high", dir, "b"), 1, "", "fuse: invalid argument `b'\n"},
		{words("high", "-o"), 1, "", "fuse: missing argument after `-o'\n"},
		{words("high", dir, "-omax_threads=x"), 1, "", "fuse: invalid parameter in option `max_threads=x'\n"},
		{words("high", dir, "-f", "-o", "use_ino,ro,intr", "--x"), 3, "", "fuse: unknown option(s): `-o use_ino,intr --x'\n"},
		{words("high", dir, "-f", "-oentry_timeout="), 3, "", "fuse: invalid parameter in option `entry_timeout='\n"},
		{words("high", dir, "-f", "-omodules=subdir"), 3, "", "fuse-subdir: missing 'subdir' option\n"},
		{words("high", dir, "-f", "-omodules=subdir,subdir=/,foo,bar"), 3, "", "fuse: unknown option(s): `-o foo,bar'\n"},
		// From the background every failure is 1.
		{words("high", dir, "-o", "use_ino"), 1, "", "fuse: unknown option(s): `-o use_ino'\n"},
	} {
		p := start(t, highProgram, words("LC_ALL=ru_RU.KOI8-R"), c.argv...)
		require.Equal(t, c.code, p.code(t), "%s: %s", c.argv, p.err.String())
		require.Equal(t, c.out, p.out.String(), c.argv)
		require.Equal(t, c.err, p.err.String(), c.argv)
	}
	t.Run("no background", func(t *testing.T) {
		p := start(t, highProgram, words(envFiles+"=4"), "high", dir)
		require.Equal(t, 256-int(syscall.EMFILE), p.code(t))
		require.Contains(t, p.err.String(), "fuse: daemonize_early_start failed")
	})
}

func TestMainForeground(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountpoint(t)
	for _, options := range [][]string{nil, words("-s"), words("-oremember=100,clone_fd,max_threads=3")} {
		p := start(t, highProgram, nil, append(words("high", "-f", dir), options...)...)
		waitMounted(t, p, dir)
		require.Equal(t, "fuse.high", fsType(t, dir))
		text, err := os.ReadFile(dir + "/hello")
		require.NoError(t, err)
		require.Equal(t, "hello", string(text))
		unmount(t, dir)
		require.Zero(t, p.code(t))
		require.Empty(t, p.out.String()+p.err.String())
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		p := start(t, highProgram, nil, "high", "-f", dir)
		waitMounted(t, p, dir)
		require.NoError(t, p.Process.Signal(sig))
		require.Equal(t, 8, p.code(t))
		require.Empty(t, p.out.String()+p.err.String())
		require.Empty(t, fsType(t, dir))
	}
	p := start(t, highProgram, words(envInit+"=5"), "high", "-f", dir)
	require.Equal(t, 8, p.code(t))
	require.Contains(t, p.err.String(), "input/output error")
	require.Empty(t, fsType(t, dir))

	p = start(t, highProgram, nil, "high", "-f", "-oblkdev", dir)
	require.Equal(t, 4, p.code(t))
	require.Contains(t, p.err.String(), "blkdev")

	p = start(t, highProgram, nil, "high", "-d", dir)
	waitMounted(t, p, dir)
	unmount(t, dir)
	require.Zero(t, p.code(t))
	require.Contains(t, p.err.String(), "FUSE library version: 3.19.0\n")
}

func TestMainBackground(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountpoint(t)
	p := start(t, highProgram, nil, "high", dir)
	require.Zero(t, p.code(t))
	require.Empty(t, p.out.String()+p.err.String())
	text, err := os.ReadFile(dir + "/hello")
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
	unmount(t, dir)
	orphans(t)

	for _, c := range []struct{ env, list string }{{envInit + "=5", "-oro"}, {"", "-oblkdev"}, {"", "-ofoo"}} {
		p := start(t, highProgram, words(c.env), "high", c.list, dir)
		require.Equal(t, 1, p.code(t))
		require.NotEmpty(t, p.err.String())
		require.Empty(t, fsType(t, dir))
		orphans(t)
	}
}

func TestHighlevelConfig(t *testing.T) {
	config := func(line ...string) (*highlevel.Config, error) {
		c := &highlevel.Config{Config: ll.Config{Logger: slog.New(slog.DiscardHandler)}}
		args := opt.NewArgs(line...)
		err := HighlevelConfig(args, c)
		if err == nil {
			require.Equal(t, line[:1], args.Argv)
		}
		return c, err
	}
	c, err := config("fs", "-okernel_cache,auto_cache,no_rofd_flush,umask=022,fmask=0133,uid=7,gid=8x,entry_timeout=1.5,attr_timeout=2s,remember=9",
		"-oallow_other,ro,noatime,fsname=x,parallel_direct_write=1", "-d")
	require.NoError(t, err)
	require.True(t, c.KernelCache && c.AutoCache && c.NoRofdFlush && c.SetMode && c.SetUID && c.SetGID && c.ParallelDirectWrites)
	require.True(t, c.Debug && c.Mount.AllowOther && c.Mount.ReadOnly)
	require.Equal(t, [4]uint32{0o22, 0o133, 7, 8}, [4]uint32{c.Umask, c.Fmask, c.UID, c.GID})
	require.Equal(t, [3]time.Duration{1500 * time.Millisecond, 2 * time.Second, 9 * time.Second}, [3]time.Duration{c.EntryTimeout, c.AttrTimeout, c.Remember})
	require.Equal(t, words("noatime"), c.Mount.Raw)
	require.Equal(t, "x", c.Mount.FSName)
	require.Empty(t, c.Options)

	c, err = config("fs", "-osubdir=/a\\,b,modules=subdir:iconv,io_uring,debug,rellinks,allow_root,from_code=UTF-8", "-ofoo")
	require.NoError(t, err)
	require.Equal(t, words("subdir", "iconv"), c.Modules)
	require.Equal(t, words("subdir=/a,b", "rellinks", "from_code=UTF-8", "foo"), c.Options)
	require.True(t, c.Debug && c.Mount.AllowRoot)

	for want, line := range map[string][]string{
		"fuse: unknown option(s): `-o use_ino,direct_io,intr,hard_remove -x'": words("fs", "-ouse_ino,ro,direct_io,intr", "-x", "-ohard_remove"),
		"fuse: unknown option(s): `-x y'":                                     words("fs", "-omodules=subdir,subdir=/", "-x", "y"),
		"fuse: invalid parameter in option `uid=x'":                           words("fs", "-ouid=x"),
		"fuse: invalid parameter in option `io_uring_q_depth='":               words("fs", "-omodules=iconv,io_uring_q_depth="),
	} {
		_, err := config(line...)
		require.EqualError(t, err, want)
	}
}
