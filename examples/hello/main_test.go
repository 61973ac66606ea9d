//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
	"github.com/purefuse/purefuse/examples/internal/hellotest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

var server = hellotest.Server{
	Name: "hello", Stopped: 8, Failed: 4, Wrong: 3, Unasked: "FUSE_CAP_SPLICE_READ",
	Lines: []string{`LOOKUP /hello`, `getattr\[NULL\] /hello`, `   NODEID: 2`, `open flags: 0x[0-9a-f]+ /hello`, `read\[0\] \d+ bytes from 0 flags: 0x[0-9a-f]+`},
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

// The options that are this program's own.
func TestNameAndContents(t *testing.T) {
	e := exampletest.Isolated(t, "hello")
	if e == nil {
		return
	}
	for _, c := range []struct {
		args           []string
		name, contents string
	}{
		{nil, "hello", hellotest.Text},
		{[]string{"--name=greeting"}, "greeting", hellotest.Text},
		{[]string{"--contents=other text"}, "hello", "other text"},
		{[]string{"--name=a,b", "--contents=", "-s"}, "a,b", ""},
		{[]string{"--contents=" + strings.Repeat("long ", 10000)}, "hello", strings.Repeat("long ", 10000)},
	} {
		e.Each(strings.Join(c.args, " ")[:min(20, len(strings.Join(c.args, " ")))], func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			p := e.Serve(dir, c.args...)
			list, err := os.ReadDir(dir)
			require.NoError(e, err)
			require.Len(e, list, 1)
			require.Equal(e, c.name, list[0].Name())
			text, err := os.ReadFile(filepath.Join(dir, c.name))
			require.NoError(e, err)
			require.Equal(e, c.contents, string(text))
			e.Unmount(dir, 0)
			require.Zero(e, p.Exit(), p.Output())
			require.Empty(e, p.Output())
		})
	}
}

// Owners and permissions come from the command line.
func TestOwner(t *testing.T) {
	e := exampletest.Isolated(t, "hello")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	p := e.Serve(dir, "-o", "uid=12,gid=34,umask=0222,fmask=0137")
	out, err := exec.Command("stat", "-c", "%a %u %g", dir, filepath.Join(dir, "hello")).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "555 12 34\n640 12 34\n", string(out))
	e.Unmount(dir, 0)
	require.Zero(t, p.Exit())
}

// The same command lines give the same messages and exit codes as libfuse's own hello.
func TestMessagesAreLibfuses(t *testing.T) {
	e := exampletest.Isolated(t, "hello")
	if e == nil {
		return
	}
	c := e.CompileC("hello")
	dir := e.Mountpoint(0)
	e.SameAsC("hello", [][]string{
		{}, {"-f"}, {"--name=x"}, {"-o"}, {dir, "extra"}, {dir + "/none"}, {""}, {"--", "-x"}, {dir, "-f", "-x"}, {dir, "-f", "--names=x"},
		{dir, "-f", "-o", "ro,bogus,nonempty", "--long", "-x"}, {dir, "-o", "max_idle_threads=x"}, {dir, "-f", "-o", "use_ino"}, {dir, "-f", "-o", "hard_remove,direct_io"},
		{dir, "-f", "-o", "umask=9"}, {dir, "-f", "-o", "entry_timeout=x"}, {dir, "-f", "-o", "remember="}, {dir, "-f", "-o", "name=x"},
	}...)
	require.Nil(e, e.Mounted(dir))
	for _, args := range [][]string{{"-h"}, {"--help"}, {"-h", "-o", "bogus"}} {
		theirCode, theirs := e.Finish(exec.Command(c, args...))
		code, ours := e.Finish(e.Command(args...))
		require.Equal(e, theirCode, code)
		usage, _, ok := strings.Cut(strings.ReplaceAll(theirs, c, e.Program), "    -h   --help") // what follows is newer than their library
		require.True(e, ok)
		require.True(e, strings.HasPrefix(ours, usage), "%s", ours)
		require.Contains(e, ours, "    -o subdir=DIR")
	}
}
