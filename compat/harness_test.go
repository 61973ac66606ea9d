//go:build linux

package compat

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The main functions are tested in processes of their own: the test runs again in a mount and PID namespace (isolated),
// and there starts this binary as one of childPrograms.

const (
	envIsolated = "PUREFUSE_TEST_ISOLATED"
	envProgram  = "PUREFUSE_TEST_PROGRAM"

	patient = 30 * time.Second // for what takes milliseconds
)

// childPrograms are what init runs instead of the tests when envProgram names one. Package variables fill it.
var childPrograms = map[string]func() int{}

func childProgram(name string, main func() int) string {
	childPrograms[name] = main
	return name
}

func init() {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else each child process of a race build ends a second late
	}
	if name := os.Getenv(envProgram); name != "" {
		os.Exit(childPrograms[name]())
	}
}

// isolated reports whether the test runs in its own namespaces. If not, it has run the test there, and the caller returns.
// A test that outlives its time is killed there with all that it has started and mounted.
func isolated(t *testing.T) bool {
	if os.Getenv(envIsolated) == t.Name() {
		require.NoError(t, unix.Mount("proc", "/proc", "proc", 0, ""))
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make a mount namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=110s")
	cmd.Env = append(os.Environ(), envIsolated+"="+t.Name())
	// The end of a PID namespace's first process ends all others in it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// program is one run of a child program.
type program struct {
	*exec.Cmd
	out, err bytes.Buffer
	done     chan struct{} // closed when the program has ended
}

// start runs a child program under the name that its argv[0] says, with env added to its environment.
func start(t *testing.T, name string, env []string, argv ...string) *program {
	p := newProgram(name, env, argv...)
	p.begin(t)
	return p
}

func newProgram(name string, env []string, argv ...string) *program {
	p := &program{Cmd: exec.Command("/proc/self/exe"), done: make(chan struct{})}
	p.Args = argv
	p.Env = append(append(os.Environ(), envProgram+"="+name), env...)
	return p
}

func (p *program) begin(t *testing.T) {
	// Files, not pipes: a background process that keeps them open is not waited for.
	stdout, err := os.CreateTemp(t.TempDir(), "out")
	require.NoError(t, err)
	stderr, err := os.CreateTemp(t.TempDir(), "err")
	require.NoError(t, err)
	p.Stdout, p.Stderr = stdout, stderr
	require.NoError(t, p.Start())
	go func() {
		defer close(p.done)
		p.Wait()
		for f, b := range map[*os.File]*bytes.Buffer{stdout: &p.out, stderr: &p.err} {
			f.Seek(0, 0)
			b.ReadFrom(f)
			f.Close()
		}
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.done
	})
}

// code is the exit code, when the program has ended.
func (p *program) code(t *testing.T) int {
	select {
	case <-p.done:
	case <-time.After(patient):
		p.Process.Signal(syscall.SIGQUIT) // which prints where it hangs
		<-p.done
		require.Fail(t, "the program does not end", "%s%s", p.out.String(), p.err.String())
	}
	return p.ProcessState.ExitCode()
}

// mountpoint makes a directory to mount on.
func mountpoint(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "mnt")
	require.NoError(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fsType is the type of the topmost mount on dir, "" if there is none.
func fsType(t *testing.T, dir string) (kind string) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(info)) {
		mount, fs, _ := strings.Cut(line, " - ")
		if strings.Fields(mount)[4] == dir {
			kind = strings.Fields(fs)[0]
		}
	}
	return kind
}

// waitMounted waits for the mount table to show a mount on dir while p runs.
func waitMounted(t *testing.T, p *program, dir string) {
	table, err := os.Open("/proc/self/mountinfo")
	require.NoError(t, err)
	defer table.Close()
	for deadline := time.Now().Add(patient); fsType(t, dir) == ""; {
		require.True(t, time.Now().Before(deadline), "not mounted")
		select {
		case <-p.done:
			require.Fail(t, "the program ended", "%s%s", p.out.String(), p.err.String())
		default:
		}
		// The table polls as an exception when it changes; the timeout is for the program's end.
		unix.Poll([]unix.PollFd{{Fd: int32(table.Fd()), Events: unix.POLLPRI}}, 100)
	}
}

// unmount takes a mount away. Lazily: its server may just be looking at it.
func unmount(t *testing.T, dir string) {
	require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
}

// orphans waits for the end of the background processes that are this process's children now, it being the first one of
// its PID namespace.
func orphans(t *testing.T) {
	done := make(chan error)
	go func() {
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		require.ErrorIs(t, err, unix.ECHILD)
	case <-time.After(patient):
		require.Fail(t, "the background process does not end")
	}
}
