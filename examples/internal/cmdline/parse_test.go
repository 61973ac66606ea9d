//go:build linux

package cmdline

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/purefuse/purefuse/session"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	const none = ^uint32(0)
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	for name, c := range map[string]struct {
		args []string
		want Options
	}{
		"nothing":    {[]string{"/usr/bin/fs"}, Options{MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"comma name": {[]string{"/usr/bin/my,fs", dir}, Options{Mountpoint: dir, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "my,fs"}}},
		"slash name": {[]string{"x/", dir}, Options{Mountpoint: dir, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "/"}}},
		"no name":    {[]string{"", dir}, Options{Mountpoint: dir, MaxIdleThreads: none}},
		"symlink":    {[]string{"fs", link + "/../" + filepath.Base(link) + "/"}, Options{Mountpoint: dir, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"fsname":     {[]string{"fs", dir, "-o", "fsname=x"}, Options{Mountpoint: dir, MaxIdleThreads: none, Mount: session.MountOptions{FSName: "x"}}},
		"subtype":    {[]string{"fs", "-osubtype=s"}, Options{MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "s"}}},
		"-d":         {[]string{"fs", "-d"}, Options{Debug: true, Foreground: true, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"--debug":    {[]string{"fs", "--debug"}, Options{Debug: true, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"-o debug": {[]string{"fs", "-o", "debug,allow_other", dir},
			Options{Mountpoint: dir, Debug: true, Foreground: true, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs", AllowOther: true}}},
		"letters": {[]string{"fs", "-f", "-s", "-h", "-V"},
			Options{Foreground: true, SingleThread: true, ShowHelp: true, ShowVersion: true, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"long": {[]string{"fs", "--help", "--version"},
			Options{ShowHelp: true, ShowVersion: true, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"threads": {[]string{"fs", "-o", "max_threads=3,max_idle_threads=2,clone_fd", dir},
			Options{Mountpoint: dir, CloneFD: true, MaxThreads: 3, MaxIdleThreads: 2, Mount: session.MountOptions{Subtype: "fs"}}},
		"io_uring": {[]string{"fs", "-o", "io_uring,io_uring_q_depth=16"},
			Options{URing: true, URingQueueDepth: 16, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"descriptor": {[]string{"fs", "/dev/fd/7"}, Options{Mountpoint: "/dev/fd/7", MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"dashes":     {[]string{"fs", "-f", "--", dir}, Options{Mountpoint: dir, Foreground: true, MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs"}}},
		"comma":      {[]string{"fs", "-o", `fsname=a\,b\\c,ro`}, Options{MaxIdleThreads: none, Mount: session.MountOptions{FSName: `a,b\c`, ReadOnly: true}}},
		"octal":      {[]string{"fs", "-o", `fsname=\054\101\999\7\`}, Options{MaxIdleThreads: none, Mount: session.MountOptions{FSName: `,A9997\`}}},
		"unknown": {[]string{"fs", "-o", `allow_other,foo,x\,y`, "-x", "-o", "nonempty", "--bar"},
			Options{MaxIdleThreads: none, Mount: session.MountOptions{Subtype: "fs", AllowOther: true},
				inList: []string{"foo", "x,y", "nonempty"}, alone: []string{"-x", "--bar"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.args, nil)
			require.NoError(t, err)
			got.ownName = false
			require.Equal(t, c.want, *got)
		})
	}
}

func TestParseErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for want, args := range map[string][]string{
		"fuse: bad mount point `/nonexistent': No such file or directory": {"fs", "/nonexistent"},
		"fuse: bad mount point `': No such file or directory":             {"fs", ""},
		"fuse: bad mount point `-tmp': No such file or directory":         {"fs", "--", "-tmp"},
		"fuse: bad mount point `" + file + "/x': Not a directory":         {"fs", file + "/x"},
		"fuse: invalid argument `extra'":                                  {"fs", dir, "extra"},
		"fuse: missing argument after `-o'":                               {"fs", "-o"},
		"fuse: invalid parameter in option `max_threads='":                {"fs", "-o", "max_threads="},
		"fuse: invalid parameter in option `max_idle_threads=x'":          {"fs", "-o", "ro,max_idle_threads=x"},
		"own": {"fs", "-o", "ro,mine=bad"},
	} {
		_, err := Parse(args, func(word string) (bool, error) {
			if word == "mine=bad" {
				return true, errors.New("own")
			}
			return false, nil
		})
		require.EqualError(t, err, want)
	}
}

func TestUnknown(t *testing.T) {
	o, err := Parse([]string{"fs", "-o", "ro"}, nil)
	require.NoError(t, err)
	require.NoError(t, o.Unknown())
	o, err = Parse([]string{"fs", "-x", "-o", `foo,b\,r`}, nil)
	require.NoError(t, err)
	require.EqualError(t, o.Unknown(), "fuse: unknown option(s): `-o foo,b\\,r -x'")
	o, err = Parse([]string{"fs", "--long", "-y"}, nil)
	require.NoError(t, err)
	require.EqualError(t, o.Unknown(), "fuse: unknown option(s): `--long -y'")
}

func TestParseOwnOptions(t *testing.T) {
	var seen []string
	o, err := Parse([]string{"fs", "-o", `source=a\,b,ro`, "--socket=p", "-f"}, func(word string) (bool, error) {
		seen = append(seen, word)
		return word == "source=a,b" || word == "--socket=p", nil
	})
	require.NoError(t, err)
	require.NoError(t, o.Unknown())
	require.Equal(t, []string{"source=a,b", "ro", "--socket=p", "-f"}, seen)
	require.True(t, o.Foreground && o.Mount.ReadOnly)
}

func TestScanUint(t *testing.T) {
	for s, want := range map[string]uint32{"12abc": 12, "-1": 1<<32 - 1, "99999999999": 1215752191, " 7": 7, "+3": 3, "1e3": 1} {
		n, ok := ScanUint(s)
		require.True(t, ok, s)
		require.Equal(t, want, n, s)
	}
	for _, s := range []string{"", "x", "-", " "} {
		_, ok := ScanUint(s)
		require.False(t, ok, s)
	}
}

func TestConfig(t *testing.T) {
	o, err := Parse([]string{"fs", "-d", "-o", "clone_fd,max_threads=4,max_idle_threads=0,ro"}, nil)
	require.NoError(t, err)
	c := o.Config()
	require.True(t, c.Debug && c.CloneFD && c.Mount.ReadOnly)
	require.Equal(t, 4, c.Workers)
	require.Equal(t, 1, c.MaxIdle)
	o, err = Parse([]string{"fs", "-s", "-o", "max_threads=4"}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, o.Config().Workers)
	require.Zero(t, o.Config().MaxIdle)
}
