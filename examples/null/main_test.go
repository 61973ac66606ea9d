//go:build linux

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// check reads and writes the file that is the mount.
func check(t require.TestingT, file string) {
	st, err := os.Stat(file)
	require.NoError(t, err)
	require.True(t, st.Mode().IsRegular())
	require.EqualValues(t, int64(size), st.Size())
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	buf := make([]byte, 100_000)
	for i := range buf {
		buf[i] = 1
	}
	for _, off := range []int64{0, 12345, 4<<30 - 100_000} {
		n, err := f.ReadAt(buf, off)
		require.NoError(t, err)
		require.Equal(t, make([]byte, n), buf)
	}
	_, err = f.ReadAt(buf, 4<<30)
	require.Equal(t, io.EOF, err)
	n, err := f.WriteAt([]byte("gone"), 4000)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.NoError(t, f.Truncate(0))
	require.NoError(t, f.Sync())
}

// covered is a regular file to mount on, with a name of its own.
func covered(e *exampletest.Env) string {
	f, err := os.CreateTemp(e.Dir, "covered")
	require.NoError(e, err)
	_, err = f.WriteString("covered")
	require.NoError(e, err)
	require.NoError(e, f.Close())
	return f.Name()
}

func uncovered(e *exampletest.Env, file string) {
	require.Nil(e, e.Mounted(file))
	text, err := os.ReadFile(file)
	require.NoError(e, err)
	require.Equal(e, "covered", string(text))
}

func TestForeground(t *testing.T) {
	e := exampletest.Isolated(t, "null")
	if e == nil {
		return
	}
	file := covered(e)
	p := e.Serve(file)
	check(t, file)
	e.Unmount(file, 0)
	require.Zero(t, p.Exit(), p.Output())
	require.Empty(t, p.Output())
	uncovered(e, file)
}

// The program that goes into the background looks at the file twice: the second time it must not see its own mount.
func TestBackground(t *testing.T) {
	e := exampletest.Isolated(t, "null")
	if e == nil {
		return
	}
	for _, relative := range []bool{false, true} {
		file := covered(e)
		arg := file
		cmd := e.Command(file)
		if relative {
			arg = filepath.Base(file)
			cmd = e.Command(arg)
			cmd.Dir = filepath.Dir(file)
		}
		code, out := e.Finish(cmd)
		require.Zero(t, code, out)
		require.Empty(t, out)
		check(t, file)
		pid := e.Daemon(arg)
		e.Unmount(file, 0)
		require.Zero(t, e.DaemonExit(pid))
		uncovered(e, file)
	}
}

func TestPlainUser(t *testing.T) {
	e := exampletest.Isolated(t, "null")
	if e == nil {
		return
	}
	file := covered(e)
	require.NoError(t, os.Chown(file, exampletest.Nobody, exampletest.Nobody))
	p := e.Start(exampletest.As(exampletest.Nobody, e.Command("-f", file)))
	p.AwaitMount(file)
	e.Unmount(file, exampletest.Nobody)
	require.Zero(t, p.Exit(), p.Output())
	uncovered(e, file)
}

func TestMessages(t *testing.T) {
	e := exampletest.Isolated(t, "null")
	if e == nil {
		return
	}
	file := covered(e)
	e.SameAsC("null", nil, []string{"-f"}, []string{e.Mountpoint(0)}, []string{"/nonexistent"}, []string{file, "extra"}, []string{file, "-f", "-o", "bogus"})
	for _, arg := range []string{"-h", "-V"} {
		code, out := e.Finish(e.Command(arg))
		require.Zero(t, code, out)
	}
	uncovered(e, file)
}
