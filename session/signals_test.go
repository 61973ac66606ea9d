//go:build linux

package session

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// signalProgram breaks its standard output and then prints the first two signals that two handlers see.
var signalProgram = childProgram("signals", func() int {
	got := make(chan syscall.Signal)
	var stop1, stop2 func()
	stop1 = handleSignals(func(s syscall.Signal) { got <- s })
	other := make(chan syscall.Signal, 10)
	stop2 = handleSignals(func(s syscall.Signal) { other <- s })
	// A broken standard output would end the process by SIGPIPE.
	r, w, _ := os.Pipe()
	r.Close()
	unix.Dup2(int(w.Fd()), 1)
	_, err := unix.Write(1, []byte("x"))
	fmt.Fprintln(os.Stderr, "pipe", err == unix.EPIPE)
	os.Stdout.Write([]byte("x")) // here the runtime itself would
	for range 2 {
		s := <-got
		fmt.Fprintln(os.Stderr, s, <-other)
	}
	stop1()
	stop1()
	stop2()
	return 0
})

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		trap string
		send []syscall.Signal
		want []string
	}{
		{"", []syscall.Signal{unix.SIGHUP, unix.SIGINT}, []string{"hangup hangup", "interrupt interrupt"}},
		{"trap '' INT HUP; ", []syscall.Signal{unix.SIGINT, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGTERM}, []string{"terminated terminated", "terminated terminated"}},
	} {
		cmd := exec.Command("/bin/sh", "-c", c.trap+`exec "$0"`, "/proc/self/exe")
		self, err := os.Executable()
		require.NoError(t, err)
		cmd.Args[3] = self
		cmd.Env = append(os.Environ(), envProgram+"="+signalProgram)
		lines, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		p := &program{t: t, cmd: cmd}
		p.out = bufio.NewReader(lines)
		require.Equal(t, "pipe true", p.line())
		want := c.want
		for _, s := range c.send {
			require.NoError(t, cmd.Process.Signal(s))
			if strings.HasPrefix(want[0], s.String()) {
				require.Equal(t, want[0], p.line())
				want = want[1:]
			}
		}
		require.NoError(t, cmd.Wait())
		require.Empty(t, want)
	}
}

func TestSignalsStopRestoresTheDefault(t *testing.T) {
	p := startProgram(t, signalDefaultProgram, os.Getuid(), nil)
	require.Equal(t, "stopped", p.line())
	require.NoError(t, p.cmd.Process.Signal(unix.SIGTERM))
	p.cmd.Wait()
	require.Equal(t, syscall.SIGTERM, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

var signalDefaultProgram = childProgram("signals default", func() int {
	handleSignals(func(syscall.Signal) {})()
	fmt.Println("stopped")
	os.Stdin.Read(make([]byte, 1))
	return 0
})
