//go:build linux

// Package realtest has the acceptance tests of the main job: passthrough_ll, and the passthroughs of the path API, built as a
// user builds them, mounted by the kernel, carry real programs and every system call that they may come up with.
package realtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	envIsolated = "PUREFUSE_REALTEST_ISOLATED" // the test that runs in its own namespaces
	envServer   = "PUREFUSE_REALTEST_SERVER"   // the path of the built passthrough_ll; the others are beside it
	envDisk     = "PUREFUSE_REALTEST_DISK"     // a directory on ext4
	envProgram  = "PUREFUSE_REALTEST_PROGRAM"  // what this binary is instead of a test

	patient = 30 * time.Second      // for what takes milliseconds
	limit   = 150 * time.Second     // for one mount
	glance  = 2 * time.Millisecond  // between two looks at something that another process does
	ext4    = unix.EXT4_SUPER_MAGIC // of statfs(2)
	nobody  = 65534

	connections = "/sys/fs/fuse/connections"
)

// programs are what this binary can be instead of a test, with the words that follow its name.
var programs = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	if name := os.Getenv(envProgram); name != "" {
		if err := programs[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

// run builds the servers and finds a disk before the first test, outside of all namespaces.
func run(m *testing.M) int {
	if os.Getenv(envIsolated) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "purefuse-realtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", append([]string{"build", "-o", dir}, packages()...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	if err := noteSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Chmod(dir, 0o755)
	os.Setenv(envServer, filepath.Join(dir, passthroughLL.name))
	os.Setenv(envDisk, dir)
	return m.Run()
}

// packages are those of the servers.
func packages() (list []string) {
	for _, k := range append(pathKinds, passthroughLL) {
		list = append(list, "github.com/purefuse/purefuse/examples/"+k.name)
	}
	return list
}

// noteSources opens what the servers are built from, so that go test takes no result from its cache that another server gave.
func noteSources() error {
	format := "{{if .Module}}{{if .Module.Main}}{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{end}}{{end}}"
	out, err := exec.Command("go", append([]string{"list", "-deps", "-f", format}, packages()...)...).Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	for path := range strings.Lines(string(out)) {
		f, err := os.Open(strings.TrimSpace(path))
		if errors.Is(err, os.ErrNotExist) { // the empty line after a package
			continue
		}
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// isolated reports whether the test runs in its own mount and PID namespaces. If not, it has run the test there, and the
// caller returns. With the first process of a PID namespace all others in it end, and with the last one in it the mounts.
func isolated(t *testing.T) bool {
	if os.Getenv(envIsolated) == t.Name() {
		require.NoError(t, unix.Mount("proc", "/proc", "proc", 0, ""))
		require.NoError(t, unix.Mount("fusectl", connections, "fusectl", 0, "")) // not there on every machine
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make namespaces and to mount")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-test.short=%v", testing.Short()), "-test.timeout=280s")
	cmd.Env = append(os.Environ(), envIsolated+"="+t.Name(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	return false
}

// backings runs f as a subtest on each kind of file system below: source is an empty directory on it.
func backings(t *testing.T, f func(t *testing.T, source string)) {
	t.Run("tmpfs", func(t *testing.T) { f(t, tmpfs(t)) })
	t.Run("ext4", func(t *testing.T) { f(t, disk(t)) })
}

// tmpfs is a new file system in memory.
func tmpfs(t *testing.T) string {
	dir := filepath.Join(tempDir(t), "tmpfs")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, unix.Mount("realtest", dir, "tmpfs", 0, "mode=0755"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// disk is a directory on ext4: the machine's own if it has that for temporary files, or else one in an image.
func disk(t *testing.T) string {
	dir := tempDir(t)
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	if st.Type == ext4 {
		return dir
	}
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 4<<30))
	command(t, dir, "e2fsprogs", "mkfs.ext4", "-q", image)
	require.NoError(t, os.Mkdir(mnt, 0o755))
	command(t, dir, "mount", "mount", "-o", "loop", image, mnt)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mnt, unix.MNT_DETACH)) })
	return mnt
}

// tempDir is a temporary directory that everybody may enter.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp(os.Getenv(envDisk), "t")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// kind is one of the servers.
type kind struct {
	name   string
	source string // the option that names the source; "": the root directory is mirrored, and the source with it
}

var (
	passthroughLL = kind{"passthrough_ll", "source="}
	pathKinds     = []kind{{"passthrough", ""}, {"passthrough_fh", ""}}
)

// server is a running server.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	point string // where it is mounted
	mnt   string // the source, as it is to be seen in the mount
	conn  int    // number of the connection
	log   *output

	exited chan struct{}
	once   sync.Once
}

// output is a buffer for one writer and one reader.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// mount serves source with passthrough_ll, see kind.mount.
func mount(t *testing.T, source string, args ...string) *server {
	t.Helper()
	return passthroughLL.mount(t, source, args...)
}

// mount serves source in the foreground, with further arguments. At the end of the test it is unmounted, and must end well.
func (k kind) mount(t *testing.T, source string, args ...string) *server {
	t.Helper()
	first := []string{"-f"}
	if k.source != "" {
		first = append(first, "-o", k.source+source)
	}
	s := k.start(t, append(first, args...)...)
	t.Cleanup(func() { s.unmount() })
	if k.source == "" {
		s.mnt = filepath.Join(s.point, source)
	}
	return s
}

// start starts passthrough_ll, see kind.start.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	return passthroughLL.start(t, args...)
}

func (k kind) path() string { return filepath.Join(filepath.Dir(os.Getenv(envServer)), k.name) }

// start starts the server with these arguments and a mount point, and waits for the mount.
func (k kind) start(t *testing.T, args ...string) *server {
	t.Helper()
	point := filepath.Join(tempDir(t), "mnt")
	s := &server{t: t, point: point, mnt: point, log: new(output), exited: make(chan struct{})}
	require.NoError(t, os.Mkdir(s.mnt, 0o755))
	s.cmd = exec.Command(k.path(), append(args, s.mnt)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	require.NoError(t, s.cmd.Start())
	go func() {
		defer close(s.exited)
		s.cmd.Wait()
	}()
	t.Cleanup(s.kill)
	var in *mountinfo.Info
	s.await("the mount", func() bool { in = mounted(t, s.mnt); return in != nil })
	s.conn = in.Major<<20 | in.Minor
	dog := time.AfterFunc(limit, func() { // everything that hangs in the mount goes on, with an error
		s.cmd.Process.Signal(syscall.SIGQUIT) // and tells where it is
		time.Sleep(time.Second)
		s.abort()
		fmt.Fprintf(os.Stderr, "watchdog: %s took longer than %v; server:\n%s\n", t.Name(), limit, s.log)
	})
	t.Cleanup(func() { dog.Stop() })
	return s
}

// await waits until something has come true.
func (s *server) await(what string, f func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patient); !f(); time.Sleep(glance) {
		require.True(s.t, time.Now().Before(end), "waiting for %s; server:\n%s", what, s.log)
	}
}

// mounted is what is mounted on dir, nil if nothing is.
func mounted(t *testing.T, dir string) *mountinfo.Info {
	list, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	require.NoError(t, err)
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// abort ends the connection.
func (s *server) abort() error {
	return os.WriteFile(fmt.Sprintf("%s/%d/abort", connections, s.conn), []byte("1"), 0)
}

// kill ends the server in any case, and its mount.
func (s *server) kill() {
	if mounted(s.t, s.point) != nil {
		s.abort()
		unix.Unmount(s.point, unix.MNT_DETACH)
	}
	s.cmd.Process.Kill()
	<-s.exited
}

// suspicious is what a server must not say. The error of a request in a debug line is none of it.
var suspicious = regexp.MustCompile(`(?i)panic|fatal|goroutine|bad error|writing device|\berror\b[^:]|level=`)

// unmount unmounts as a user does; the server must end by itself with exit code 0.
func (s *server) unmount() {
	s.once.Do(func() {
		s.t.Helper()
		command(s.t, "/", "fuse3", "fusermount3", "-u", s.point)
		require.Zero(s.t, s.wait(), "%s", s.log)
		require.Nil(s.t, mounted(s.t, s.point))
		require.NotRegexp(s.t, suspicious, s.log.String())
	})
}

// wait waits for the server's end and returns its exit code.
func (s *server) wait() int {
	s.t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patient):
		s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.exited
		require.FailNow(s.t, "the server does not end", "%s", s.log)
		return -1
	}
}

// path is a path in the mount.
func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.mnt}, elem...)...)
}

// program is a command that must be installed, from Debian's package pkg.
func program(t *testing.T, dir, pkg, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		require.FailNow(t, name+" is missing: apt-get install "+pkg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit) // also for clean-up
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return cmd
}

// command runs a program, which must succeed, and returns what it prints.
func command(t *testing.T, dir, pkg, name string, args ...string) string {
	t.Helper()
	return result(t, program(t, dir, pkg, name, args...))
}

func result(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", strings.Join(cmd.Args, " "), out)
	return string(out)
}

// self is this binary as one of programs.
func self(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	require.Contains(t, programs, name)
	ctx, cancel := context.WithTimeout(context.Background(), limit) // also for clean-up
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), envProgram+"="+name, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// as makes cmd run as another user.
func as(uid uint32, cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// scale is n, or less of it in short mode.
func scale(n int) int {
	if testing.Short() {
		return max(n/5, 1)
	}
	return n
}
