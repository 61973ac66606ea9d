//go:build linux

package compat

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/stretchr/testify/require"
)

// dir is a directory whose path has no symlinks on any machine.
const dir = "/proc"

func words(w ...string) []string { return w }

func TestParseCmdline(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want CmdlineOpts
		out  []string // after the program's name
		err  string
	}{
		{in: words("/usr/bin/my,fs", dir), want: CmdlineOpts{Mountpoint: dir}, out: words("-osubtype=my,fs")},
		{in: words("fs", dir, "-o", "fsname=x"), want: CmdlineOpts{Mountpoint: dir, NoDefaultSubtype: true}, out: words("-o", "fsname=x")},
		{in: words("fs", "-d", dir), want: CmdlineOpts{Mountpoint: dir, Debug: true, Foreground: true}, out: words("-d", "-osubtype=fs")},
		{in: words("fs", "-o", "debug,allow_other", dir+"/.."+dir+"/"), want: CmdlineOpts{Mountpoint: dir, Debug: true, Foreground: true},
			out: words("-o", "debug,allow_other", "-osubtype=fs")},
		{in: words("fs", "--debug", dir), want: CmdlineOpts{Mountpoint: dir}, out: words("--debug", "-osubtype=fs")},
		{in: words("fs", "/nonexistent"), err: "fuse: bad mount point `/nonexistent': No such file or directory"},
		{in: words("fs", dir, "extra"), err: "fuse: invalid argument `extra'"},
		{in: words("fs", "/dev/fd/7"), want: CmdlineOpts{Mountpoint: "/dev/fd/7"}, out: words("-osubtype=fs")},
		{in: words("fs"), out: words("-osubtype=fs")},
		{in: words("fs", "-f", "-s", "-h", "-V"), want: CmdlineOpts{Foreground: true, SingleThread: true, ShowHelp: true, ShowVersion: true},
			out: words("-osubtype=fs")},
		{in: words("fs", "-o", "max_threads=3,max_idle_threads=2,clone_fd", dir),
			want: CmdlineOpts{Mountpoint: dir, MaxThreads: 3, MaxIdleThreads: 2, CloneFD: true}, out: words("-osubtype=fs")},
		{in: words("fs", "--", "-tmp"), err: "fuse: bad mount point `-tmp': No such file or directory"},
		{in: words("", dir), want: CmdlineOpts{Mountpoint: dir}, out: words("-osubtype=")},
		{in: words("x/", dir), want: CmdlineOpts{Mountpoint: dir}, out: words("-osubtype=/")},
		// What the vectors imply.
		{in: words("fs", "--help", "--version"), want: CmdlineOpts{ShowHelp: true, ShowVersion: true}, out: words("-osubtype=fs")},
		{in: words("fs", "-osubtype=s,fsname=f"), want: CmdlineOpts{NoDefaultSubtype: true}, out: words("-o", "subtype=s,fsname=f")},
		{in: words("fs", "-o", "io_uring,foo", "-x", dir), want: CmdlineOpts{Mountpoint: dir}, out: words("-o", "io_uring,foo", "-x", "-osubtype=fs")},
		{in: words("fs", "-o", "max_threads="), err: "fuse: invalid parameter in option `max_threads='"},
		{in: words("fs", "-o", "max_idle_threads=-1"), out: words("-osubtype=fs")},
		{in: words("fs", ""), err: "fuse: bad mount point `': No such file or directory"},
		{in: words("fs", "-o"), err: "fuse: missing argument after `-o'"},
		{in: words("fs", "/dev/fd/7x"), err: "fuse: bad mount point `/dev/fd/7x': No such file or directory"},
	} {
		t.Run(strings.Join(c.in, " "), func(t *testing.T) {
			args := opt.NewArgs(c.in...)
			got, err := ParseCmdline(args)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				require.Nil(t, got)
				require.Equal(t, c.in, args.Argv)
				return
			}
			require.NoError(t, err)
			if c.want.MaxThreads == 0 {
				c.want.MaxThreads, c.want.MaxIdleThreads = 10, math.MaxUint32
			}
			require.Equal(t, c.want, *got)
			require.Equal(t, append(c.in[:1:1], c.out...), args.Argv)
		})
	}
	_, err := ParseCmdline(new(opt.Args))
	require.Error(t, err)
}

func TestParseServiceCmdline(t *testing.T) {
	args := opt.NewArgs("fs", "/nonexistent/../x", "-f")
	o, err := ParseServiceCmdline(args)
	require.NoError(t, err)
	require.Equal(t, "/nonexistent/../x", o.Mountpoint)
	require.True(t, o.Foreground)
	require.Equal(t, words("fs", "-osubtype=fs"), args.Argv)
	_, err = ParseServiceCmdline(opt.NewArgs("fs", "a", "b"))
	require.EqualError(t, err, "fuse: invalid argument `b'")
}

func TestRealpath(t *testing.T) {
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(tmp+"/a/b/c", 0o755))
	require.NoError(t, os.WriteFile(tmp+"/file", nil, 0o644))
	for link, target := range map[string]string{"link": "a/b", "abs": tmp + "/a/b/", "loop": "loop", "dead": "gone", "a/b/up": "../..", "tofile": "file"} {
		require.NoError(t, os.Symlink(target, tmp+"/"+link))
	}
	t.Chdir(tmp + "/a")
	for in, want := range map[string]string{
		"/":                      "/",
		"//":                     "/",
		"/..":                    "/",
		"/proc/..":               "/",
		".":                      tmp + "/a",
		"b":                      tmp + "/a/b",
		"b/":                     tmp + "/a/b",
		"./b//c/./..":            tmp + "/a/b",
		"..":                     tmp,
		"../link/..":             tmp + "/a",
		"../link/up":             tmp,
		"../abs/c":               tmp + "/a/b/c",
		tmp + "/file":            tmp + "/file",
		"../tofile":              tmp + "/file",
		"../dead":                "No such file or directory",
		"../dead/":               "No such file or directory",
		"../loop":                "Too many levels of symbolic links",
		"../file/":               "Not a directory",
		"../file/.":              "Not a directory",
		"../file/..":             "Not a directory",
		"../file/./..":           "Not a directory",
		"../file/x":              "Not a directory",
		"../tofile/":             "Not a directory",
		"x":                      "No such file or directory",
		"":                       "No such file or directory",
		"../link/x/..":           "No such file or directory",
		"../link/../..":          tmp,
		strings.Repeat("x", 300): "File name too long",
	} {
		got, err := realpath(in)
		if err != nil {
			got = Strerror(err)
		}
		require.Equal(t, want, got, in)
	}
}

func TestApply(t *testing.T) {
	for line, want := range map[string]struct {
		workers, idle int
		log           string
	}{
		"":                                     {},
		"-s":                                   {workers: 1},
		"-s -omax_threads=5":                   {workers: 1},
		"-omax_threads=0":                      {workers: 1},
		"-omax_threads=5":                      {workers: 5},
		"-omax_threads=4000000000":             {workers: min(4000000000, math.MaxInt32)},
		"-omax_idle_threads=0":                 {idle: 1},
		"-omax_idle_threads=3":                 {idle: 3},
		"-omax_idle_threads=-1":                {},
		"-omax_idle_threads=11":                {idle: 11, log: "fuse: max_idle_threads 11 is greater than max_threads 10\n"},
		"-omax_idle_threads=3 -omax_threads=2": {workers: 2, idle: 3, log: "fuse: max_idle_threads 3 is greater than max_threads 2\n"},
		"-omax_idle_threads=100001":            {log: "Ignoring invalid max threads value 100001 > max (100000).\n"},
	} {
		o, err := ParseCmdline(opt.NewArgs(append([]string{"fs"}, strings.Fields(line)...)...))
		require.NoError(t, err)
		var log bytes.Buffer
		c := lowlevel.Config{Logger: slog.New(lowlevel.NewLineHandler(&log, nil))}
		o.Apply(&c)
		require.Equal(t, want.workers, c.Workers, line)
		require.Equal(t, want.idle, c.MaxIdle, line)
		require.Equal(t, want.log, log.String(), line)
		require.False(t, c.CloneFD)
	}
	var c lowlevel.Config
	(&CmdlineOpts{CloneFD: true}).Apply(&c)
	require.True(t, c.CloneFD)
}

func TestLowlevelConfig(t *testing.T) {
	t.Setenv("FUSE_URING_ENABLE", "")
	var log bytes.Buffer
	config := func(line ...string) (*lowlevel.Config, *opt.Args, error) {
		log.Reset()
		c := &lowlevel.Config{Logger: slog.New(lowlevel.NewLineHandler(&log, lowlevel.LevelTrace))}
		args := opt.NewArgs(line...)
		err := LowlevelConfig(args, c)
		return c, args, err
	}
	c, args, err := config("fs", "-o", `allow_other,fsname=a\,b,ro,noatime,max_read=4096,x-foo`, "-osubtype=fs", "-n")
	require.NoError(t, err)
	require.Equal(t, session.MountOptions{AllowOther: true, FSName: "a,b", ReadOnly: true, MaxRead: 4096, Subtype: "fs",
		Raw: words("noatime", "x-foo", "-n")}, c.Mount)
	require.Equal(t, words("fs"), args.Argv)
	require.False(t, c.Debug)
	require.Empty(t, log.String())

	for _, debug := range []string{"-d", "-odebug", "--debug"} {
		c, _, err = config("fs", debug)
		require.NoError(t, err)
		require.True(t, c.Debug)
		require.Equal(t, "FUSE library version: 3.19.0\n", log.String())
	}

	c, _, err = config("-fs", "-oallow_root,io_uring,io_uring_q_depth=16")
	require.NoError(t, err)
	require.True(t, c.Mount.AllowRoot)
	require.Equal(t, lowlevel.TransportIOURing, c.Transport)
	require.Equal(t, 16, c.RingDepth)
	require.Equal(t, "fuse: warning: argv[0] looks like an option, but will be ignored\n", log.String())

	t.Setenv("FUSE_URING_ENABLE", " +1x")
	t.Setenv("FUSE_URING_QUEUE_DEPTH", "4")
	c, _, err = config("fs")
	require.NoError(t, err)
	require.Equal(t, lowlevel.TransportIOURing, c.Transport)
	require.Equal(t, 4, c.RingDepth)
	for option, want := range map[string]int{"0": 1, "4294967295": 1024} {
		c, _, err = config("fs", "-oio_uring_q_depth="+option)
		require.NoError(t, err)
		require.Equal(t, want, c.RingDepth)
		require.Contains(t, log.String(), "fuse: io-uring queue depth must be > 0")
	}

	for want, line := range map[string][]string{
		"fuse: unknown option(s): `-o foo,b\\,r -x'":                    words("fs", "-x", "-o", `foo,b\,r`),
		"fuse: unknown option(s): `-o nonempty'":                        words("fs", "-ononempty,ro"),
		"fuse: unknown option(s): `--long arg'":                         words("fs", "--long", "arg"),
		"fuse: unknown option(s): `ro'":                                 words("fs", "ro"),
		"fuse: unknown option(s): `-o '":                                words("fs", "-o", ""),
		"fuse: invalid parameter in option `max_read=x'":                words("fs", "-omax_read=x"),
		"fuse: invalid parameter in option `io_uring_q_depth='":         words("fs", "-oio_uring_q_depth="),
		"fuse: empty argv passed to fuse_session_new()":                 {},
		"fuse: unknown option(s): `-o use_ino,direct_io,intr,relatime'": words("fs", "-ouse_ino,direct_io,intr,relatime"),
	} {
		_, _, err = config(line...)
		require.EqualError(t, err, want)
	}
}

// A configuration without a logger gets one whose level follows the debug option.
func TestDefaultLogger(t *testing.T) {
	lines := capture(t)
	var c lowlevel.Config
	require.NoError(t, LowlevelConfig(opt.NewArgs("fs"), &c))
	require.False(t, c.Logger.Enabled(t.Context(), slog.LevelDebug))
	c.Logger.Info("one", "key", 1)
	require.NoError(t, LowlevelConfig(opt.NewArgs("fs", "-d"), &c))
	require.True(t, c.Logger.Enabled(t.Context(), lowlevel.LevelTrace))
	require.Equal(t, words("INFO one key=1", "DEBUG FUSE library version: 3.19.0"), *lines)
}

func TestSplitMountOptions(t *testing.T) {
	w := SplitMountOptions(`allow_other,max_read=1,context="a\,b",ro,nosuid,-r,fsname=x\,y,subtype=s,blkdev,auto_unmount,` +
		`allow_root,debug,io_uring,io_uring_q_depth=3,clone_fd,max_threads=1,user=me,-n,x-y,nonempty,,blksize=4,max_read=z`)
	require.Equal(t, &MountWords{
		Kernel:  words("allow_other", "max_read=1", `context="a,b"`, "blksize=4", "max_read=z"),
		Flags:   words("ro", "nosuid", "-r"),
		Helper:  words("fsname=x,y", "subtype=s", "blkdev", "auto_unmount"),
		Library: words("allow_root", "debug", "io_uring", "io_uring_q_depth=3", "clone_fd", "max_threads=1"),
		Table:   words("user=me", "-n", "x-y"),
		Unknown: words("nonempty", ""),
	}, w)
	require.Equal(t, `allow_other,max_read=1,context="a,b",blksize=4,max_read=z,allow_other`, w.KernelOptions())
	require.Equal(t, `ro,nosuid,ro,allow_other,max_read=1,context="a\,b",blksize=4,max_read=z,fsname=x\,y,subtype=s,blkdev,auto_unmount,allow_other`,
		w.FusermountOptions())
	// What the session understands is in one of the groups for which it does something.
	for word, in := range map[string]*[]string{"dirsync": &w.Flags, "defcontext=u": &w.Kernel, "allow_root": &w.Library, "x-z": &w.Table} {
		*w = *SplitMountOptions(word)
		require.Equal(t, words(word), *in)
	}
}
