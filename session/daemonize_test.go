//go:build linux

package session

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// daemonProgram goes into the background as its first argument says, reports on descriptor 4, and then does what the
// further arguments say. Descriptor 3 stands for one that has to keep its number.
var daemonProgram = childProgram("daemon", func() int {
	var o DaemonOptions
	switch os.Args[1] {
	case "nochdir":
		o.NoChdir = true
	case "foreground":
		o.NoBackground = true
	}
	d, err := Daemonize(o)
	report := os.NewFile(4, "report")
	if err != nil {
		fmt.Fprintln(report, err)
		return 99
	}
	cwd, _ := os.Getwd()
	stdin, _ := os.Readlink("/proc/self/fd/0")
	three, _ := os.Readlink("/proc/self/fd/3")
	sid, _ := unix.Getsid(0)
	_, marked := os.LookupEnv(daemonEnv)
	fmt.Fprintln(report, "cwd", cwd, "stdin", stdin, "three", three, "leader", sid == os.Getpid(), "marked", marked,
		"active", d.Active(), "args", strings.Join(os.Args, " "), "env", os.Getenv("DAEMON_TEST"), "pid", os.Getpid())
	for _, do := range os.Args[2:] {
		switch do {
		case "print":
			fmt.Println("printed")
		case "ready":
			if err := d.Ready(); err != nil {
				fmt.Fprintln(report, err)
			}
			fmt.Fprintln(report, "active", d.Active())
		case "fail":
			d.Fail(7)
		case "fail300":
			d.Fail(300)
		case "again":
			same, err := Daemonize(o)
			fmt.Fprintln(report, "same", same == d && err == nil)
		case "die":
			return 3
		case "kill":
			unix.Kill(os.Getpid(), unix.SIGKILL)
		case "panic":
			panic("on purpose")
		case "stdout":
			out, _ := os.Readlink("/proc/self/fd/1")
			errs, _ := os.Readlink("/proc/self/fd/2")
			fmt.Fprintln(report, out, errs)
		case "nobody waits":
			for d.Active() { // until the parent's end ends this process
				time.Sleep(time.Minute)
			}
		}
	}
	fmt.Fprintln(report, "end")
	return 0
})

type daemonRun struct {
	code   int
	out    string
	report []string
}

func runDaemon(t *testing.T, uid int, args ...string) daemonRun {
	t.Helper()
	three, err := os.Open("/dev/zero")
	require.NoError(t, err)
	defer three.Close()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), envProgram+"="+daemonProgram, "DAEMON_TEST=kept")
	cmd.ExtraFiles = []*os.File{three, w}
	cmd.Dir = "/usr"
	cmd.Stdin = strings.NewReader("")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	out, err := cmd.CombinedOutput()
	w.Close()
	if err != nil {
		require.IsType(t, new(exec.ExitError), err)
	}
	// The report ends when the background process does.
	require.NoError(t, r.SetReadDeadline(time.Now().Add(patient)))
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	return daemonRun{cmd.ProcessState.ExitCode(), string(out), strings.Split(strings.TrimSpace(string(text)), "\n")}
}

func TestDaemonize(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become another user")
	}
	for _, uid := range []int{0, nobody} {
		r := runDaemon(t, uid, "background", "print", "ready", "stdout")
		require.Equal(t, 0, r.code, r.out)
		require.Equal(t, "printed\n", r.out)
		require.Len(t, r.report, 4)
		require.Contains(t, r.report[0], "cwd / stdin /dev/null three /dev/zero leader true marked false active true args /proc/self/exe background print ready stdout env kept")
		require.Equal(t, []string{"active false", "/dev/null /dev/null", "end"}, r.report[1:])
	}
	r := runDaemon(t, 0, "nochdir", "ready")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.report[0], "cwd /usr stdin /dev/null")

	r = runDaemon(t, 0, "background", "fail", "ready", "fail", "again")
	require.Equal(t, 7, r.code)
	require.Equal(t, []string{"active false", "same true", "end"}, r.report[1:])
	require.Equal(t, 300&255, runDaemon(t, 0, "background", "fail300").code)

	r = runDaemon(t, 0, "background", "ready", "ready", "fail", "again")
	require.Equal(t, 0, r.code)
	require.Equal(t, []string{"active false", "active false", "same true", "end"}, r.report[1:])

	for _, how := range []string{"die", "kill", "panic"} {
		r = runDaemon(t, 0, "background", "print", how)
		require.Equal(t, 1, r.code, how)
		require.Len(t, r.report, 1)
		require.True(t, strings.HasPrefix(r.out, "printed\n"))
		require.Equal(t, how == "panic", strings.Contains(r.out, "on purpose"), "what the daemon says before Ready is seen")
	}
	require.Equal(t, 1, runDaemon(t, 0, "background").code, "an end without a word is a failure")

	r = runDaemon(t, 0, "foreground", "print", "ready", "fail", "again")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.report[0], "cwd / ")
	require.Contains(t, r.report[0], "leader false marked false active false")
	require.Equal(t, []string{"active false", "same true", "end"}, r.report[1:])
}

func TestDaemonDiesWithItsWaitingParent(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", "background", "nobody waits")
	cmd.Env = append(os.Environ(), envProgram+"="+daemonProgram)
	cmd.ExtraFiles = []*os.File{w, w}
	require.NoError(t, cmd.Start())
	w.Close()
	require.NoError(t, r.SetReadDeadline(time.Now().Add(patient)))
	in := bufio.NewReader(r)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	_, err = in.ReadByte()
	require.Equal(t, io.EOF, err, "the background process has ended")
}

func TestDaemonNil(t *testing.T) {
	var d *Daemon
	require.NoError(t, d.Ready())
	d.Fail(1)
	require.False(t, d.Active())
}
