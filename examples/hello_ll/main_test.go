//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
	"github.com/purefuse/purefuse/examples/internal/hellotest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

var server = hellotest.Server{Name: "hello_ll", More: attributes, Stopped: 1, Failed: 1, Wrong: 1, Unasked: "FUSE_CAP_ASYNC_READ"}

// attributes are the extended attributes that pretend.
func attributes(t require.TestingT, dir string) {
	file := filepath.Join(dir, "hello")
	for _, path := range []string{dir, file} {
		require.NoError(t, unix.Setxattr(path, "hello_ll_setxattr_name", []byte("hello_ll_setxattr_value"), 0))
		require.ErrorIs(t, unix.Setxattr(path, "hello_ll_setxattr_name", []byte("other"), 0), unix.ENOTSUP)
		require.ErrorIs(t, unix.Setxattr(path, "other", nil, 0), unix.ENOTSUP)
		value := make([]byte, 100)
		n, err := unix.Getxattr(path, "hello_ll_getxattr_name", value)
		require.NoError(t, err)
		require.Equal(t, "hello_ll_getxattr_value", string(value[:n]))
		n, err = unix.Getxattr(path, "hello_ll_getxattr_name", nil)
		require.NoError(t, err)
		require.Equal(t, 23, n)
		_, err = unix.Getxattr(path, "hello_ll_getxattr_name", value[:3])
		require.ErrorIs(t, err, unix.ERANGE)
		_, err = unix.Getxattr(path, "other", value)
		require.ErrorIs(t, err, unix.ENOTSUP)
		require.NoError(t, unix.Removexattr(path, "hello_ll_removexattr_name"))
		require.ErrorIs(t, unix.Removexattr(path, "other"), unix.ENOTSUP)
	}
}

func TestForeground(t *testing.T)      { server.Foreground(t) }
func TestPlainUser(t *testing.T)       { server.PlainUser(t) }
func TestBackground(t *testing.T)      { server.Background(t) }
func TestMountHelper(t *testing.T)     { server.MountHelper(t) }
func TestDescriptor(t *testing.T)      { server.Descriptor(t) }
func TestMountAttributes(t *testing.T) { server.MountAttributes(t) }
func TestMountInfo(t *testing.T)       { server.MountInfo(t) }
func TestBlockDevice(t *testing.T)     { server.BlockDevice(t) }
func TestAutoUnmount(t *testing.T)     { server.AutoUnmount(t) }
func TestInitStatus(t *testing.T)      { server.InitStatus(t) }
func TestDebug(t *testing.T)           { server.Debugging(t) }
func TestSignals(t *testing.T)         { server.Signals(t) }
func TestMountFailures(t *testing.T)   { server.MountFailures(t) }

func TestMessages(t *testing.T) {
	e := exampletest.Isolated(t, "hello_ll")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	usage := "usage: " + e.Program + " [options] <mountpoint>\n"
	for _, c := range []struct {
		args string
		code int
		out  string
	}{
		{"", 1, usage + "       " + e.Program + " --help\n"},
		{"-o bogus", 1, usage + "       " + e.Program + " --help\n"},
		{dir + " -o bogus", 1, "fuse: unknown option(s): `-o bogus'\n"},
		{dir + " -f -o ro,bogus,nonempty --long -x", 1, "fuse: unknown option(s): `-o bogus,nonempty --long -x'\n"},
		{dir + " extra", 1, "fuse: invalid argument `extra'\n"},
		{dir + "/none", 1, "fuse: bad mount point `" + dir + "/none': No such file or directory\n"},
		{"-f -o", 1, "fuse: missing argument after `-o'\n"},
		{dir + " -o max_threads=x", 1, "fuse: invalid parameter in option `max_threads=x'\n"},
	} {
		e.Each(c.args, func(e *exampletest.Env) {
			code, out := e.Finish(e.Command(strings.Fields(c.args)...))
			require.Equal(e, c.code, code)
			require.Equal(e, c.out, out)
			require.Nil(e, e.Mounted(dir))
		})
	}
	for _, args := range []string{"-h", "--help", "-h -o bogus", "-f --help " + dir} {
		code, out := e.Finish(e.Command(strings.Fields(args)...))
		require.Zero(e, code)
		require.True(e, strings.HasPrefix(out, usage+"\n    -h   --help            print help\n"), out)
		require.Contains(e, out, "    -o auto_unmount        auto unmount on process termination\n")
	}
	for _, args := range []string{"-V", "--version"} {
		code, out := e.Finish(e.Command(args))
		require.Zero(e, code)
		require.Regexp(e, `^FUSE library version 3\.\S+.*\nusing FUSE kernel interface version 7\.46\nfusermount3 version: \S+\n$`, out)
	}
}

// The same command lines give the same messages and exit codes as libfuse's own hello_ll.
func TestMessagesAreLibfuses(t *testing.T) {
	e := exampletest.Isolated(t, "hello_ll")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	file := filepath.Join(e.Dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	e.SameAsC("hello_ll", [][]string{
		{}, {"-f"}, {"-o", "bogus"}, {"-o"}, {dir, "extra"}, {dir + "/none"}, {file + "/none"}, {""}, {"--", "-x"}, {dir, "-x"}, {dir, "--debugs"},
		{dir, "-f", "-o", "ro,bogus,nonempty", "--long", "-x"}, {dir, "-o", `a\,b,c\\d,e\054f`}, {dir, "-o", "max_idle_threads=x"}, {dir, "-o", "max_idle_threads="},
		{dir, "-o", "debugger,,x="}, {dir, "-o", "relatime"}, {dir, "-o", "fd=3,rootmode=40000"}, {dir, "-ononempty"}, {dir, "-fs"}, {dir, "-o", "max_read=x"},
	}...)
	require.Nil(e, e.Mounted(dir))
}
