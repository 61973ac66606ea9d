//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
	"github.com/purefuse/purefuse/wire"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// server is a running hello_ll_uds.
type server struct {
	*testing.T
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
	unique uint64
}

// start starts the program and waits until it listens at path.
func start(t *testing.T, path string, args ...string) *server {
	s := &server{T: t, cmd: exampletest.Self("hello_ll_uds", args...)}
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	s.out = bufio.NewReader(out)
	line, err := s.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "Awaiting connection on socket at "+path+"...\n", line)
	return s
}

func (s *server) dial(path string) net.Conn {
	c, err := net.Dial("unix", path)
	require.NoError(s, err)
	s.Cleanup(func() { c.Close() })
	require.NoError(s, c.SetDeadline(time.Now().Add(30*time.Second)))
	line, err := s.out.ReadString('\n')
	require.NoError(s, err)
	require.Equal(s, "Accepted connection!\n", line)
	return c
}

// exit waits for the end.
func (s *server) exit() int {
	timer := time.AfterFunc(30*time.Second, func() { s.cmd.Process.Kill() })
	defer timer.Stop()
	io.Copy(io.Discard, s.out)
	s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

// ask sends one request, in pieces, and returns the reply's error and what follows its header.
func (s *server) ask(c net.Conn, op wire.Opcode, ino uint64, args ...any) (errno int32, body []byte) {
	var arg bytes.Buffer
	for _, a := range args {
		if text, ok := a.(string); ok {
			arg.WriteString(text + "\x00")
			continue
		}
		require.NoError(s, binary.Write(&arg, binary.NativeEndian, a))
	}
	s.unique += 2
	var msg bytes.Buffer
	head := wire.InHeader{Len: uint32(40 + arg.Len()), Opcode: uint32(op), Unique: s.unique, NodeID: ino}
	require.NoError(s, binary.Write(&msg, binary.NativeEndian, head))
	msg.Write(arg.Bytes())
	for half := range 2 { // a stream knows no messages
		b := msg.Next(msg.Len() / (2 - half))
		_, err := c.Write(b)
		require.NoError(s, err)
	}
	var out wire.OutHeader
	require.NoError(s, binary.Read(c, binary.NativeEndian, &out))
	require.Equal(s, s.unique, out.Unique)
	body = make([]byte, out.Len-16)
	_, err := io.ReadFull(c, body)
	require.NoError(s, err)
	return out.Error, body
}

func decode[T any](t *testing.T, b []byte) (v T) {
	require.NoError(t, binary.Read(bytes.NewReader(b), binary.NativeEndian, &v))
	return v
}

// The exchange of libfuse's own case: INIT of 7.38 without flags.
func TestInit(t *testing.T) {
	for name, size := range map[string]int{"short form": 16, "long form": 64} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "socket")
			s := start(t, path, "--socket="+path)
			c := s.dial(path)
			in := make([]byte, size)
			binary.NativeEndian.PutUint32(in, 7)
			binary.NativeEndian.PutUint32(in[4:], 38)
			errno, body := s.ask(c, wire.OpInit, 0, in)
			require.Zero(t, errno)
			require.Len(t, body, 64)
			require.EqualValues(t, 7, decode[wire.InitOut](t, body).Major)
			require.NoError(t, c.Close())
			require.Zero(t, s.exit())
			require.Empty(t, s.stderr.String())
		})
	}
}

func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	require.NoError(t, os.WriteFile(path, nil, 0o600)) // a leftover
	s := start(t, path, "--socket="+path)
	c := s.dial(path)
	errno, _ := s.ask(c, wire.OpInit, 0, wire.InitIn{Major: 7, Minor: 38})
	require.Zero(t, errno)

	errno, body := s.ask(c, wire.OpLookup, 1, "hello")
	require.Zero(t, errno)
	entry := decode[wire.EntryOut](t, body)
	require.EqualValues(t, 2, entry.NodeID)
	require.EqualValues(t, 13, entry.Attr.Size)
	errno, _ = s.ask(c, wire.OpLookup, 1, "missing")
	require.Equal(t, -int32(syscall.ENOENT), errno)
	errno, body = s.ask(c, wire.OpGetattr, 1, wire.GetattrIn{})
	require.Zero(t, errno)
	require.EqualValues(t, syscall.S_IFDIR|0o755, decode[wire.AttrOut](t, body).Attr.Mode)
	errno, _ = s.ask(c, wire.OpGetattr, 3, wire.GetattrIn{})
	require.Equal(t, -int32(syscall.ENOENT), errno)
	errno, _ = s.ask(c, wire.OpOpen, 2, wire.OpenIn{Flags: syscall.O_RDWR})
	require.Equal(t, -int32(syscall.EACCES), errno)
	errno, _ = s.ask(c, wire.OpOpen, 2, wire.OpenIn{})
	require.Zero(t, errno)
	for off, want := range map[uint64]string{0: helloText, 6: "World!\n", 13: "", 100: ""} {
		errno, body = s.ask(c, wire.OpRead, 2, wire.ReadIn{Offset: off, Size: 4096})
		require.Zero(t, errno)
		require.Equal(t, want, string(body))
	}
	var names []string
	for off := uint64(0); ; { // 40 bytes are one entry at a time
		errno, body = s.ask(c, wire.OpReaddir, 1, wire.ReadIn{Offset: off, Size: 40})
		require.Zero(t, errno)
		if len(body) == 0 {
			break
		}
		off = binary.NativeEndian.Uint64(body[8:])
		names = append(names, string(body[24:24+binary.NativeEndian.Uint32(body[16:])]))
	}
	require.Equal(t, []string{".", "..", "hello"}, names)
	errno, _ = s.ask(c, wire.OpMkdir, 1, wire.MkdirIn{}, "x")
	require.Equal(t, -int32(syscall.ENOSYS), errno)
	require.NoError(t, c.Close())
	require.Zero(t, s.exit())
}

func TestDefaultSocket(t *testing.T) {
	if _, err := os.Lstat(defaultSocket); err == nil {
		t.Skip(defaultSocket + " is somebody else's")
	}
	t.Cleanup(func() { os.Remove(defaultSocket) })
	s := start(t, defaultSocket)
	require.NoError(t, s.dial(defaultSocket).Close())
	require.Zero(t, s.exit())
}

func TestStatusAndDebug(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	t.Setenv("FUSE_INIT_STATUS", "1")
	s := start(t, path, "--socket="+path, "-d")
	c := s.dial(path)
	s.ask(c, wire.OpInit, 0, wire.InitIn{Major: 7, Minor: 38})
	s.ask(c, wire.OpLookup, 1, "missing")
	require.NoError(t, c.Close())
	require.Zero(t, s.exit())
	require.Contains(t, s.stderr.String(), "FUSE_INIT: io_uring=off:custom_io\n")
	require.Contains(t, s.stderr.String(), "   unique: 4, error: -2 (No such file or directory), outsize: 16\n")
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		path := filepath.Join(t.TempDir(), "socket")
		s := start(t, path, "--socket="+path)
		require.NoError(t, s.cmd.Process.Signal(sig)) // nobody has connected
		require.Equal(t, 1, s.exit())

		s = start(t, path, "--socket="+path)
		c := s.dial(path)
		s.ask(c, wire.OpInit, 0, wire.InitIn{Major: 7, Minor: 38})
		require.NoError(t, s.cmd.Process.Signal(sig))
		require.Equal(t, 1, s.exit())
		require.Empty(t, s.stderr.String())
	}
}

func TestMessages(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	require.NoError(t, os.MkdirAll(filepath.Join(full, "x"), 0o755))
	long := strings.Repeat("x", 108)
	for args, want := range map[string]string{
		"-o bogus":                  "fuse: unknown option(s): `-o bogus'\n",
		"--socket":                  "fuse: unknown option(s): `--socket'\n",
		"--socket=" + long:          "Socket path may not be longer than 107 characters\n",
		"--socket=" + full:          "Could not delete previous socket file entry at " + full + ". Error: Directory not empty\n",
		"--socket=" + dir + "/no/x": "Could not bind socket. Error: No such file or directory\n",
	} {
		out, err := exampletest.Self("hello_ll_uds", strings.Fields(args)...).CombinedOutput()
		exit, ok := err.(*exec.ExitError)
		require.True(t, ok, "%v", err)
		require.Equal(t, 1, exit.ExitCode())
		require.Contains(t, string(out), want)
	}
	out, err := exampletest.Self("hello_ll_uds", "-h").CombinedOutput()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(out), "usage: hello_ll_uds [options]\n\n    -h   --help            print help\n"), "%s", out)
	require.Contains(t, string(out), "    --socket=PATH          serve on PATH\n")
	out, err = exampletest.Self("hello_ll_uds", "-V").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "FUSE library version ")
}
