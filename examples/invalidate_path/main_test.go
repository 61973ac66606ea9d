//go:build linux

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

const (
	patient = 30 * time.Second      // for what takes seconds
	glance  = 20 * time.Millisecond // between two looks
)

// changes waits until what look returns has changed twice.
func changes(t require.TestingT, look func() any) {
	for range 2 {
		before := look()
		require.Eventually(t, func() bool { return look() != before }, patient, glance)
	}
}

func contents(t require.TestingT, dir, name string) func() any {
	return func() any {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(text)
	}
}

func size(t require.TestingT, dir, name string) func() any {
	return func() any {
		st, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		return st.Size()
	}
}

func TestNotify(t *testing.T) {
	e := exampletest.Isolated(t, "invalidate_path")
	if e == nil {
		return
	}
	for _, args := range [][]string{nil, {"-s"}, {"-d"}} {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, append(args, "--update-interval=1")...)
		require.Regexp(t, `^The current time is \d\d:\d\d:\d\d\n$`, contents(t, dir, timeFile)())
		changes(t, contents(t, dir, timeFile))
		changes(t, size(t, dir, growFile))
		require.Regexp(t, `^x+$`, contents(t, dir, growFile)())
		e.Unmount(dir, 0)
		require.Zero(t, p.Exit(), p.Output())
		if args == nil {
			require.Empty(t, p.Output())
		}
	}
}

// Without notifications the kernel goes by the timeout.
func TestNoNotify(t *testing.T) {
	e := exampletest.Isolated(t, "invalidate_path")
	if e == nil {
		return
	}
	dir, short := e.Mountpoint(0), e.Mountpoint(0)
	p := e.Serve(dir, "--update-interval=1", "--no-notify")
	q := e.Serve(short, "--update-interval=1", "--no-notify", "--timeout=1")
	text, grown := contents(t, dir, timeFile)(), size(t, dir, growFile)()
	changes(t, size(t, short, growFile)) // which takes two intervals
	require.Equal(t, text, contents(t, dir, timeFile)())
	require.Equal(t, grown, size(t, dir, growFile)())
	e.Unmount(dir, 0)
	e.Unmount(short, 0)
	require.Zero(t, p.Exit(), p.Output())
	require.Zero(t, q.Exit(), q.Output())
}

func TestLife(t *testing.T) {
	e := exampletest.Isolated(t, "invalidate_path")
	if e == nil {
		return
	}
	e.Each("background", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		code, out := e.Finish(e.Command(dir))
		require.Zero(e, code, out)
		require.Empty(e, out)
		changes(e, size(e, dir, growFile))
		pid := e.Daemon(dir)
		e.Unmount(dir, 0)
		require.Zero(e, e.DaemonExit(pid))
	})
	e.Each("signal", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir)
		p.Signal(syscall.SIGTERM)
		require.Equal(e, 1, p.Exit())
		require.Empty(e, p.Output())
		require.Nil(e, e.Mounted(dir))
	})
	e.Each("no device", func(e *exampletest.Env) {
		for _, args := range [][]string{{"-f"}, nil} {
			cmd := e.Command(append(args, e.Mountpoint(0))...)
			cmd.Env = append(cmd.Env, "FUSE_KERN_DEVICE=/dev/missing")
			code, out := e.Finish(cmd)
			require.Equal(e, 1, code)
			require.Contains(e, out, "/dev/missing")
		}
	})
	e.SameAsC("invalidate_path", nil, []string{"-f"}, []string{"-f", "-o", "bogus", e.Dir}, []string{"--update-interval=x", e.Dir}, []string{e.Dir, "more"})
	for _, arg := range []string{"-h", "-V"} {
		code, out := e.Finish(e.Command(arg))
		require.Zero(t, code, out)
	}
}
