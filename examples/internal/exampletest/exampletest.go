//go:build linux

// Package exampletest runs an example's real main function on real mounts, in processes of its own.
//
// A test that calls Isolated runs again in a mount and a PID namespace. The end of that PID namespace, by the end of the
// test or by its time limit, ends every server in it, which ends their connections and so every caller that waits for one.
package exampletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	envProgram  = "PUREFUSE_TEST_PROGRAM"  // set: be the example
	envIsolated = "PUREFUSE_TEST_ISOLATED" // the test that runs in namespaces

	// Nobody is a user and a group without rights.
	Nobody = 65534

	patient = 30 * time.Second // for what takes milliseconds
	limit   = 3 * time.Minute  // for a whole test
)

// Main is to be called by TestMain: it runs main if this process is to be the example, else the tests.
func Main(m *testing.M, main func()) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else each process of a race build ends a second late
	}
	if os.Getenv(envProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Env is the world of one isolated test.
type Env struct {
	*testing.T
	Dir     string // a tmpfs of the test's own
	Program string // path of the example
}

// Isolated runs the calling test again in namespaces of its own and returns nil when that has passed; there it returns the
// test's Env, with the example under its name.
func Isolated(t *testing.T, name string) *Env {
	if os.Getenv(envIsolated) == t.Name() {
		return newEnv(t, name)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make a mount namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+(limit-5*time.Second).String())
	cmd.Env = append(os.Environ(), envIsolated+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Cloneflags: unix.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return nil
}

func newEnv(t *testing.T, name string) *Env {
	require.NoError(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	// This namespace's copies of the FUSE mounts of others would keep those alive.
	others, err := mountinfo.GetMounts(func(in *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(in.FSType, "fuse.") && !strings.HasPrefix(in.FSType, "fuseblk") && in.FSType != "fuse", false
	})
	require.NoError(t, err)
	for _, in := range others {
		require.NoError(t, unix.Unmount(in.Mountpoint, unix.MNT_DETACH))
	}
	dir := filepath.Join(t.TempDir(), "scratch")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, unix.Mount("scratch", dir, "tmpfs", 0, "size=1g,mode=755"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	for p := filepath.Dir(dir); p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		require.NoError(t, os.Chmod(p, 0o755))
	}
	e := &Env{T: t, Dir: dir, Program: filepath.Join(dir, "bin", name)}
	require.NoError(t, os.Mkdir(filepath.Dir(e.Program), 0o755))
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	program, err := os.OpenFile(e.Program, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(program, self)
	require.NoError(t, errors.Join(err, program.Close()))

	// Most machines let everybody open the device; fusermount3 opens it as the user.
	node := filepath.Join(dir, "fuse")
	require.NoError(t, unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))))
	require.NoError(t, os.Chmod(node, 0o666))
	require.NoError(t, unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount("/dev/fuse", unix.MNT_DETACH) })
	return e
}

// With is e for a subtest.
func (e *Env) With(t *testing.T) *Env {
	sub := *e
	sub.T = t
	return &sub
}

// Each runs a subtest.
func (e *Env) Each(name string, test func(e *Env)) {
	e.Run(name, func(t *testing.T) { test(e.With(t)) })
}

// Mountpoint makes an empty directory that belongs to uid.
func (e *Env) Mountpoint(uid int) string {
	dir, err := os.MkdirTemp(e.Dir, "mnt")
	require.NoError(e, err)
	require.NoError(e, os.Chown(dir, uid, uid))
	require.NoError(e, os.Chmod(dir, 0o755))
	return dir
}

// Proc is a process under test.
type Proc struct {
	e      *Env
	Cmd    *exec.Cmd
	output *os.File
	done   chan struct{}
}

// Command prepares the example with args; the caller may change the command before Start.
func (e *Env) Command(args ...string) *exec.Cmd {
	return e.Prepare(exec.Command(e.Program, args...))
}

// Prepare gives any command what makes the example's binary be the example.
func (e *Env) Prepare(cmd *exec.Cmd) *exec.Cmd {
	path := filepath.Dir(e.Program) + ":" + os.Getenv("PATH")
	cmd.Env = append(os.Environ(), envProgram+"=1", envIsolated+"=", "PATH="+path, "FUSE_INIT_STATUS=")
	return cmd
}

// As makes cmd run as a user without rights.
func As(uid uint32, cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// Start starts cmd, with its output into a file, which a daemon may keep open.
func (e *Env) Start(cmd *exec.Cmd) *Proc {
	output, err := os.CreateTemp(e.Dir, "output")
	require.NoError(e, err)
	p := &Proc{e: e, Cmd: cmd, output: output, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(e, cmd.Start())
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	e.Cleanup(func() {
		cmd.Process.Kill()
		<-p.done
		output.Close()
	})
	return p
}

// Serve starts the example in the foreground and returns when dir is a mount point.
func (e *Env) Serve(dir string, args ...string) *Proc {
	p := e.Start(e.Command(append(args, "-f", dir)...))
	p.AwaitMount(dir)
	return p
}

// Output is what was printed until now.
func (p *Proc) Output() string {
	b, err := os.ReadFile(p.output.Name())
	require.NoError(p.e, err)
	return string(b)
}

// Exit waits for the end and returns the exit code, -1 after a deadly signal.
func (p *Proc) Exit() int {
	select {
	case <-p.done:
	case <-time.After(patient):
		p.Cmd.Process.Signal(syscall.SIGQUIT) // for the stacks
		<-p.done
		require.Fail(p.e, "does not end", p.Output())
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Signal sends a signal.
func (p *Proc) Signal(sig syscall.Signal) { require.NoError(p.e, p.Cmd.Process.Signal(sig)) }

// Finish runs cmd to its end.
func (e *Env) Finish(cmd *exec.Cmd) (code int, output string) {
	p := e.Start(cmd)
	code = p.Exit()
	return code, p.Output()
}

// AwaitMount waits until dir is a mount point that is served, and fails if the process ends before.
func (p *Proc) AwaitMount(dir string) {
	p.e.awaitMounts(func() bool {
		select {
		case <-p.done:
			require.Fail(p.e, "ended before the mount", p.Output())
		default:
		}
		return p.e.Mounted(dir) != nil
	})
	var uid uint32
	if a := p.Cmd.SysProcAttr; a != nil && a.Credential != nil {
		uid = a.Credential.Uid
	}
	out, err := As(uid, exec.Command("stat", dir)).CombinedOutput()
	require.NoError(p.e, err, "%s", out)
}

// AwaitUnmount waits until dir is no mount point.
func (e *Env) AwaitUnmount(dir string) { e.awaitMounts(func() bool { return e.Mounted(dir) == nil }) }

// awaitMounts waits until ok, asking again whenever the mount table changes and at least once a second.
func (e *Env) awaitMounts(ok func() bool) {
	// Not os.Open: Go's poller would take the events.
	table, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(e, err)
	defer unix.Close(table)
	for deadline := time.Now().Add(patient); !ok(); {
		require.True(e, time.Now().Before(deadline), "the mount table does not change as it should")
		unix.Poll([]unix.PollFd{{Fd: int32(table), Events: unix.POLLPRI}}, 1000)
	}
}

// Mounted is the topmost mount on dir, nil if there is none.
func (e *Env) Mounted(dir string) *mountinfo.Info {
	list, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	require.NoError(e, err)
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// Unmount is fusermount3 -u, as uid. It tries again while the mount is busy: the kernel's epoll may hold a file that this
// process has closed for a moment longer, and files on FUSE can be polled.
func (e *Env) Unmount(dir string, uid uint32) {
	for deadline := time.Now().Add(patient); ; {
		out, err := As(uid, exec.Command("fusermount3", "-u", dir)).CombinedOutput()
		if err != nil && strings.Contains(string(out), "resource busy") && time.Now().Before(deadline) {
			continue
		}
		require.NoError(e, err, "%s", out)
		return
	}
}

// Daemon finds the process that serves arg in the background: of those that run the example with that argument the one
// that leads its session.
func (e *Env) Daemon(arg string) int {
	list, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(e, err)
	for _, link := range list {
		exe, err := os.Readlink(link)
		if err != nil || exe != e.Program {
			continue
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		if err != nil || !slices.Contains(strings.Split(string(args), "\x00"), arg) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(link), "stat"))
		require.NoError(e, err)
		pid, _, _ := strings.Cut(string(stat), " ")
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		if f := strings.Fields(string(rest)); f[3] == pid { // state, parent, group, session
			n, err := strconv.Atoi(pid)
			require.NoError(e, err)
			return n
		}
	}
	require.Fail(e, "no daemon")
	return 0
}

// DaemonExit waits for the end of the daemon, which is this process's child now, and returns its exit code.
func (e *Env) DaemonExit(pid int) int {
	type end struct {
		ws  unix.WaitStatus
		err error
	}
	ch := make(chan end, 1)
	go func() {
		var ws unix.WaitStatus
		for {
			_, err := unix.Wait4(pid, &ws, 0, nil)
			if err != unix.EINTR {
				ch <- end{ws, err}
				return
			}
		}
	}()
	select {
	case end := <-ch:
		require.NoError(e, end.err)
		return end.ws.ExitStatus()
	case <-time.After(patient):
		unix.Kill(pid, unix.SIGKILL)
		require.Fail(e, "the daemon does not end")
		return -1
	}
}

// Build makes another example, such as the client of this one, and returns its path.
func (e *Env) Build(name string) string {
	path := filepath.Join(e.Dir, "built", name)
	cmd := exec.Command("go", "build", "-o", path, "github.com/purefuse/purefuse/examples/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(e, err, "%s", out)
	return path
}

// SameAsC runs the example and libfuse's example of that name with the same command lines, which must give the same output
// and the same exit code. No line may lead to a mount.
func (e *Env) SameAsC(name string, lines ...[]string) {
	c := e.CompileC(name)
	for _, args := range lines {
		e.Each(strings.Join(args, " "), func(e *Env) {
			theirCode, theirs := e.Finish(exec.Command(c, args...))
			code, ours := e.Finish(e.Command(args...))
			require.Equal(e, strings.ReplaceAll(theirs, c, e.Program), ours)
			require.Equal(e, theirCode, code)
		})
	}
}

// CompileC makes libfuse's example of that name, from the source that Debian's libfuse3-dev has, and returns its path.
func (e *Env) CompileC(name string) string {
	path := filepath.Join(e.Dir, "c", name)
	require.NoError(e, os.MkdirAll(filepath.Dir(path), 0o755))
	out, err := exec.Command("gcc", "-D_FILE_OFFSET_BITS=64", "-I/usr/include/fuse3", "-o", path,
		"/usr/share/doc/libfuse3-dev/examples/"+name+".c", "-lfuse3", "-lpthread").CombinedOutput()
	require.NoError(e, err, "%s", out)
	return path
}

// Self is the example as a command, for tests that need no mount and so no Env.
func Self(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	cmd.Env = append(os.Environ(), envProgram+"=1")
	return cmd
}
