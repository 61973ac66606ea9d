//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

const (
	patient = 30 * time.Second      // for what takes seconds
	glance  = 10 * time.Millisecond // between two looks
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// client runs a client in the mount, which must see each of its 16 waits end with something to read.
func client(e *exampletest.Env, dir, path string) {
	cmd := exec.Command(path)
	cmd.Dir = dir
	code, out := e.Finish(cmd)
	require.Zero(e, code, out)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	require.Len(e, lines, 16)
	for _, l := range lines {
		require.Regexp(e, `^(_:   |[0-9A-F]:[0-9]{2} ){16}$`, l)
		require.Regexp(e, `[0-9A-F]:(0[1-9]|10) `, l)
	}
}

func TestPoll(t *testing.T) {
	e := exampletest.Isolated(t, "poll")
	if e == nil {
		return
	}
	ours := e.Build("poll_client")
	dir := e.Mountpoint(0)
	p := e.Serve(dir)
	e.Each("client", func(e *exampletest.Env) { client(e, dir, ours) })
	e.Each("files", func(e *exampletest.Env) { files(e, dir) })
	e.Each("wait", func(e *exampletest.Env) { wait(e, dir) })
	e.Unmount(dir, 0)
	require.Zero(t, p.Exit(), p.Output())
	out := p.Output()
	for _, form := range []string{`READ   [0-9A-F] transferred=\d+ cnt=\d+`, `POLL   [0-9A-F] cnt=\d+ polled_zero=\d+`, `NOTIFY [0-9A-F]`} {
		require.Regexp(t, `(?m)^`+form+`$`, out)
	}
	require.Empty(t, regexp.MustCompile(`(?m)^(READ|POLL|NOTIFY) .*\n`).ReplaceAllString(out, ""))
}

// libfuse's client cannot tell the difference. Its server would not wake it from the background: the producer stays with the
// parent.
func TestBackground(t *testing.T) {
	e := exampletest.Isolated(t, "poll")
	if e == nil {
		return
	}
	theirs := e.CompileC("poll_client")
	dir := e.Mountpoint(0)
	code, out := e.Finish(e.Command("-s", dir))
	require.Zero(t, code, out)
	require.Empty(t, out)
	client(e, dir, theirs)
	pid := e.Daemon(dir)
	e.Unmount(dir, 0)
	require.Zero(t, e.DaemonExit(pid))
}

func files(e *exampletest.Env, dir string) {
	list, err := os.ReadDir(dir)
	require.NoError(e, err)
	require.Len(e, list, 16)
	for i, entry := range list {
		require.Equal(e, digits[i:i+1], entry.Name())
		var st unix.Stat_t
		require.NoError(e, unix.Stat(filepath.Join(dir, entry.Name()), &st))
		require.EqualValues(e, unix.S_IFREG|0o444, st.Mode)
		require.LessOrEqual(e, st.Size, int64(most))
	}
	for _, name := range []string{"G", "a", "00", "-"} {
		_, err := os.Stat(filepath.Join(dir, name))
		require.ErrorIs(e, err, os.ErrNotExist)
	}
	open := func(flags int) (int, error) { return unix.Open(filepath.Join(dir, "7"), flags|unix.O_CLOEXEC, 0) }
	_, err = open(unix.O_RDWR)
	require.Equal(e, unix.EACCES, err)
	fd, err := open(unix.O_RDONLY)
	require.NoError(e, err)
	_, err = open(unix.O_RDONLY)
	require.Equal(e, unix.EBUSY, err)
	_, err = unix.Seek(fd, 1, unix.SEEK_SET)
	require.Equal(e, unix.ESPIPE, err)
	require.NoError(e, unix.Close(fd))
	require.Eventually(e, func() bool { // close(2) does not wait for the release
		fd, err := open(unix.O_RDONLY)
		if err == nil {
			unix.Close(fd)
		}
		return err == nil
	}, patient, glance)
}

// wait empties a file and waits until it has something, with poll(2) and with epoll(7).
func wait(e *exampletest.Env, dir string) {
	fd, err := unix.Open(filepath.Join(dir, "A"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(e, err)
	defer unix.Close(fd)
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(e, err)
	defer unix.Close(ep)
	require.NoError(e, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	buf := make([]byte, 100)
	for range 2 {
		_, err := unix.Read(fd, buf) // until the producer comes by
		require.NoError(e, err)
		n := again(e, func() (int, error) {
			return unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patient.Milliseconds()))
		})
		require.Equal(e, 1, n)
		n, err = unix.Read(fd, buf)
		require.NoError(e, err)
		require.Positive(e, n)
		require.Equal(e, strings.Repeat("A", n), string(buf[:n]))
		require.Equal(e, 1, again(e, func() (int, error) {
			return unix.EpollWait(ep, make([]unix.EpollEvent, 1), int(patient.Milliseconds()))
		}))
	}
}

func again(e *exampletest.Env, f func() (int, error)) int {
	for {
		n, err := f()
		if !errors.Is(err, syscall.EINTR) {
			require.NoError(e, err)
			return n
		}
	}
}

func TestMessages(t *testing.T) {
	e := exampletest.Isolated(t, "poll")
	if e == nil {
		return
	}
	e.SameAsC("poll", nil, []string{"-f", e.Dir, "-o", "bogus"}, []string{"-f", e.Dir, "more"})
}
