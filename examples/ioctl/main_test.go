//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestIoctl(t *testing.T) {
	e := exampletest.Isolated(t, "ioctl")
	if e == nil {
		return
	}
	// Each client has the numbers right: that of libfuse and ours.
	clients := map[string]string{"C": e.CompileC("ioctl_client"), "Go": e.Build("ioctl_client")}
	dir := e.Mountpoint(0)
	p := e.Serve(dir)
	file := filepath.Join(dir, "fioc")
	for name, client := range clients {
		e.Each(name, func(e *exampletest.Env) {
			run := func(args ...string) string {
				code, out := e.Finish(exec.Command(client, args...))
				require.Zero(e, code, out)
				return out
			}
			require.Empty(e, run(file, "0"))
			require.Equal(e, "0\n", run(file))
			require.NoError(e, os.WriteFile(file, []byte("content"), 0))
			require.Equal(e, "7\n", run(file))
			run(file, "0x10")
			require.Equal(e, "16\n", run(file))
			text, err := os.ReadFile(file)
			require.NoError(e, err)
			require.Equal(e, "content"+string(make([]byte, 9)), string(text))
			run(file, "3")
			run(file, "5") // what was cut off does not come back
			text, err = os.ReadFile(file)
			require.NoError(e, err)
			require.Equal(e, "con\x00\x00", string(text))

			code, out := e.Finish(exec.Command(client, file+"x"))
			require.Equal(e, 1, code)
			require.Equal(e, "open: No such file or directory\n", out)
			code, out = e.Finish(exec.Command(client))
			require.Equal(e, 1, code)
			require.Equal(e, "Usage: fioclient FIOC_FILE [size]\n\nGet size if <size> is omitted, set size otherwise\n\n", out)
			code, out = e.Finish(exec.Command(client, dir)) // which cannot be opened for writing
			require.Equal(e, 1, code)
			require.Equal(e, "open: Is a directory\n", out)
		})
	}
	e.Each("file", func(e *exampletest.Env) {
		text := bytes.Repeat([]byte("0123456789"), 50_000)
		require.NoError(e, os.WriteFile(file, text, 0))
		got, err := os.ReadFile(file)
		require.NoError(e, err)
		require.True(e, bytes.Equal(text, got))
		require.NoError(e, os.Truncate(file, 100))
		st, err := os.Stat(file)
		require.NoError(e, err)
		require.EqualValues(e, 100, st.Size())
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		require.NoError(e, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("end"), 200)
		require.NoError(e, err)
		got, err = os.ReadFile(file)
		require.NoError(e, err)
		require.Equal(e, string(text[:100])+string(make([]byte, 100))+"end", string(got))
		_, err = unix.IoctlGetInt(int(f.Fd()), 'E'<<8|9)
		require.Equal(e, syscall.EINVAL, err)
		require.ErrorIs(e, os.Truncate(file, limit+1), syscall.ENOMEM)
		_, err = os.Stat(filepath.Join(dir, "other"))
		require.ErrorIs(e, err, os.ErrNotExist)
		require.ErrorIs(e, os.Remove(file), syscall.ENOSYS)
	})
	e.Unmount(dir, 0)
	require.Zero(t, p.Exit(), p.Output())
	require.Empty(t, p.Output())
}

// A 32-bit caller has another size_t.
func TestCompat(t *testing.T) {
	var s server
	_, err := s.ioctl(nil, path, 0, 0, nil, 1, nil)
	require.Equal(t, syscall.ENOSYS, err)
	_, err = s.ioctl(nil, "/", 0, 0, nil, 0, nil)
	require.Equal(t, syscall.EINVAL, err)
}

func TestMessages(t *testing.T) {
	e := exampletest.Isolated(t, "ioctl")
	if e == nil {
		return
	}
	e.SameAsC("ioctl", nil, []string{"-f", e.Dir, "-o", "bogus"}, []string{"-o"})
}
