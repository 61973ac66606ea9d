//go:build linux

package session

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The mount tests run in three kinds of processes, all of them this test binary: the test proper, again in a mount
// namespace of its own (isolated), servers that it starts and talks to line by line (startServer), and small programs
// (childPrograms). None touches a mount that it serves.

const (
	envIsolated = "PUREFUSE_TEST_ISOLATED"
	envServer   = "PUREFUSE_TEST_SERVER"
	envProgram  = "PUREFUSE_TEST_PROGRAM"

	nobody  = 65534
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
	switch {
	case filepath.Base(os.Args[0]) == "fusermount3":
		os.Exit(fakeHelperMain())
	case os.Getenv(envServer) != "":
		os.Exit(serverMain())
	case os.Getenv(envProgram) != "":
		os.Exit(childPrograms[os.Getenv(envProgram)]())
	}
}

// isolated reports whether the test runs in its own mount namespace. If not, it has run the test there, and the
// caller returns. A test that outlives its time is killed there with all that it has started.
func isolated(t *testing.T) bool {
	if os.Getenv(envIsolated) == t.Name() {
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

// scratch is a tmpfs of the test's own, with /proc as the test's PID namespace has it and without the FUSE mounts of
// others, which this namespace would keep alive.
func scratch(t *testing.T) string {
	require.NoError(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	others, err := fuseMounts(func(*mountinfo.Info) bool { return true })
	require.NoError(t, err)
	for _, in := range others {
		require.NoError(t, unix.Unmount(in.Mountpoint, unix.MNT_DETACH))
	}
	dir := filepath.Join(t.TempDir(), "scratch")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, unix.Mount("scratch", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	for p := dir; p != "/" && p != "/tmp"; p = filepath.Dir(p) {
		require.NoError(t, os.Chmod(p, 0o755))
	}
	return dir
}

// mountPoint makes a directory that belongs to uid.
func mountPoint(t *testing.T, in, name string, uid int) string {
	dir := filepath.Join(in, name)
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Chown(dir, uid, uid))
	return dir
}

// device makes a node of /dev/fuse that everybody may open.
func device(t *testing.T, in string) string {
	path := filepath.Join(in, "fuse")
	require.NoError(t, unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))))
	require.NoError(t, os.Chmod(path, 0o666))
	return path
}

// openToAll lets everybody open /dev/fuse in this mount namespace, as most machines do. fusermount3 opens it as the user.
func openToAll(t *testing.T, in string) {
	require.NoError(t, unix.Mount(device(t, in), "/dev/fuse", "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount("/dev/fuse", unix.MNT_DETACH) })
}

// serverConfig tells serverMain what to mount and how to behave.
type serverConfig struct {
	Dir     string
	Options MountOptions
	Way     string        // one of the way constants, "": mountDir chooses
	Init    string        // "": answer, "refuse": answer with EIO and fail, "ignore": never answer, "leave": fail without an answer
	Timeout time.Duration // of the mount, 0: none
	Hold    bool          // leave everything but INIT and GETATTR without answer
}

// mounted is the server's first line.
type mounted struct {
	Err    string
	Errnos []syscall.Errno // that errors.Is finds in it
	How    string
	Sync   bool
	ID     uint64
	Conn   uint32
	Fds    []string // what is open after a failure
	Mounts string   // FUSE lines of mountinfo after a failure
	Log    string
}

// server is a started serverMain.
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	mounted
}

// startServer starts a server as uid and waits until it has mounted, or has failed to.
func startServer(t *testing.T, uid int, c serverConfig, env ...string) *server {
	return startServerAs(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}, c, env...)
}

func startServerAs(t *testing.T, attr *syscall.SysProcAttr, c serverConfig, env ...string) *server {
	t.Helper()
	js, err := json.Marshal(c)
	require.NoError(t, err)
	s := &server{t: t, cmd: exec.Command("/proc/self/exe")}
	s.cmd.Env = append(append(os.Environ(), env...), envServer+"="+string(js))
	s.cmd.SysProcAttr = attr
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd.Stderr = os.Stderr
	s.cmd.Dir = "/"
	var err error
	s.in, err = s.cmd.StdinPipe()
	require.NoError(s.t, err)
	out, err := s.cmd.StdoutPipe()
	require.NoError(s.t, err)
	s.out = bufio.NewReader(out)
	require.NoError(s.t, s.cmd.Start())
	s.t.Cleanup(s.kill)
	require.NoError(s.t, json.Unmarshal([]byte(s.line()), &s.mounted))
}

func (s *server) line() string {
	s.t.Helper()
	type result struct {
		text string
		err  error
	}
	ch := make(chan result, 1)
	go func() {
		text, err := s.out.ReadString('\n')
		ch <- result{text, err}
	}()
	select {
	case r := <-ch:
		require.NoError(s.t, r.err)
		return strings.TrimSuffix(r.text, "\n")
	case <-time.After(patient):
		s.cmd.Process.Signal(syscall.SIGQUIT)
		require.FailNow(s.t, "the server does not answer")
		return ""
	}
}

// do sends a command to the server and returns its answer.
func (s *server) do(command string) string {
	s.t.Helper()
	_, err := fmt.Fprintln(s.in, command)
	require.NoError(s.t, err)
	return s.line()
}

// kill ends the server with SIGKILL.
func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// mountsAt are the lines of this process's mountinfo that have dir as mount point.
func mountsAt(t *testing.T, dir string) (lines []string) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// notMounted waits until nothing is mounted on dir.
func notMounted(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open("/proc/self/mounts")
	require.NoError(t, err)
	defer f.Close()
	end := time.Now().Add(patient)
	for len(mountsAt(t, dir)) > 0 {
		require.True(t, time.Now().Before(end), "still mounted: %v", mountsAt(t, dir))
		// The kernel reports a change of the mount table as POLLERR|POLLPRI, and looks often enough without.
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}, 20)
		if err != unix.EINTR {
			require.NoError(t, err)
		}
	}
}

// serverMain mounts, serves, and takes commands.
func serverMain() int {
	var c serverConfig
	if err := json.Unmarshal([]byte(os.Getenv(envServer)), &c); err != nil {
		panic(err)
	}
	os.Unsetenv(envServer)
	before := openFiles()
	opened := func() []string {
		return slices.DeleteFunc(openFiles(), func(f string) bool { return slices.Contains(before, f) })
	}
	var log bytes.Buffer
	r := &responder{init: c.Init, hold: c.Hold}
	hooks := mountHooks{ServeInit: r.serve, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	ctx := context.Background()
	if c.Timeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	var m *mount
	var err error
	if c.Way == "" {
		m, err = mountDir(ctx, c.Dir, &c.Options, hooks)
	} else {
		m, err = mountBy(ctx, c.Way, c.Dir, &c.Options, hooks)
	}
	out := bufio.NewWriter(os.Stdout)
	say := func(v any) {
		js, _ := json.Marshal(v)
		out.Write(append(js, '\n'))
		out.Flush()
	}
	if err != nil {
		say(failedMount(err, opened(), log.String()))
		return 0
	}
	say(mounted{How: m.how, Sync: m.sync, ID: m.id.ID, Conn: m.conn, Log: log.String()})
	served := make(chan error, 1)
	go func() { served <- r.serve(m.dev, nil) }()

	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		var err error
		verb, arg, _ := strings.Cut(in.Text(), " ")
		answer := ""
		switch verb {
		case "briefly":
			brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			err = m.unmount(brief, 0)
			cancel()
		case "unmount":
			err = m.unmount(ctx, map[string]UnmountFlags{"": 0, "lazy": UnmountLazy, "force": UnmountForce, "both": UnmountLazy | UnmountForce}[arg])
		case "abort":
			err = m.abort()
		case "gone":
			answer = fmt.Sprint(m.gone())
		case "served": // waits for the end of the connection
			err = <-served
		case "close":
			err = m.close()
		case "held": // waits until a request is held
			answer = fmt.Sprint(<-r.held())
		case "inherited": // what a program that the server starts would have open
			for _, n := range inheritable() {
				answer += n + " "
			}
		case "fds":
			answer = strings.Join(opened(), " ")
		}
		cancel()
		switch {
		case err == nil:
		case errors.Is(err, ErrNotOurs):
			answer = "ErrNotOurs " + err.Error()
		case errors.Is(err, ErrNotMounted):
			answer = "ErrNotMounted " + err.Error()
		case errors.Is(err, syscall.EBUSY):
			answer = "EBUSY " + err.Error()
		default:
			answer = "error " + err.Error()
		}
		out.WriteString(answer + "\n")
		out.Flush()
	}
	return 0
}

func failedMount(err error, fds []string, log string) mounted {
	f := mounted{Err: err.Error(), Fds: fds, Log: log}
	for e := syscall.Errno(1); e < 140; e++ {
		if errors.Is(err, e) {
			f.Errnos = append(f.Errnos, e)
		}
	}
	text, _ := os.ReadFile("/proc/thread-self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " - fuse") {
			f.Mounts += line
		}
	}
	return f
}

// openFiles lists what the descriptors above 2 refer to, but for the runtime's own and handles of child processes, which
// are closed when those have ended.
func openFiles() (files []string) {
	dir, _ := os.ReadDir("/proc/self/fd")
	for _, e := range dir {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || len(e.Name()) == 1 && e.Name() < "3" || strings.Contains(to, "[eventpoll]") || strings.Contains(to, "[pidfd]") || to == "anon_inode:[eventfd]" {
			continue
		}
		files = append(files, to)
	}
	return files
}

// inheritable lists the descriptors above 2 without FD_CLOEXEC.
func inheritable() (files []string) {
	for fd := 3; fd < 100; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			if to != "/dev/null" { // some that start tests leave one open
				files = append(files, to)
			}
		}
	}
	return files
}

// gone reports whether the connection has ended, or the mount has left this mount namespace.
func (m *mount) gone() bool {
	if m.down() {
		return true
	}
	if m.id.ID == 0 {
		return false
	}
	in, err := findMount(m.id)
	return err == nil && in == nil
}

// mountBy is mountDir with only one way.
func mountBy(ctx context.Context, way, dir string, o *MountOptions, hooks mountHooks) (*mount, error) {
	flat, err := o.flat()
	if err != nil {
		return nil, err
	}
	a := &attempt{dir: dir, o: flat, hooks: hooks, log: hooks.Logger, e: new(MountError), typ: unix.S_IFDIR}
	m, err := map[string]func(context.Context) (*mount, error){wayNew: a.newAPI, wayMount: a.legacy, wayHelper: a.byHelper}[way](ctx)
	if err == nil {
		m.how = way
	}
	return m, err
}

// responder is the smallest FUSE server: an empty root directory (or file).
type responder struct {
	init string
	hold bool

	once sync.Once
	ch   chan uint32
}

func (r *responder) held() chan uint32 {
	r.once.Do(func() { r.ch = make(chan uint32, 100) })
	return r.ch
}

var errRefused = errors.New("refused by the test")

// serve answers until the connection ends, or stop is closed.
func (r *responder) serve(dev *os.File, stop <-chan struct{}) error {
	buf := make([]byte, 1<<17)
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-stop:
			unix.Write(ev, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		case <-ended:
		}
	}()
	defer func() {
		close(ended)
		<-stopped
		unix.Close(ev)
	}()
	for {
		p := []unix.PollFd{{Fd: int32(dev.Fd()), Events: unix.POLLIN}, {Fd: int32(ev), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		if p[1].Revents != 0 {
			return nil
		}
		n, err := unix.Read(int(dev.Fd()), buf)
		switch err {
		case nil:
		case unix.EINTR, unix.ENOENT, unix.EAGAIN:
			continue
		case unix.ENODEV:
			return nil
		default:
			return err
		}
		if err := r.answer(int(dev.Fd()), buf[:n]); err != nil {
			return err
		}
	}
}

func (r *responder) answer(dev int, req []byte) error {
	le := binary.NativeEndian
	op, unique := le.Uint32(req[4:]), le.Uint64(req[8:])
	errno := -int32(syscall.ENOSYS)
	var body []byte
	switch op {
	case 2, 36, 42: // FORGET, INTERRUPT, BATCH_FORGET
		return nil
	case 26: // INIT
		switch r.init {
		case "ignore":
			return nil
		case "leave":
			return errRefused
		case "refuse":
			errno = -int32(syscall.EIO)
		default:
			errno = 0
			body = make([]byte, 64)
			le.PutUint32(body[0:], 7)
			le.PutUint32(body[4:], 31)
			le.PutUint32(body[8:], 65536)
			le.PutUint32(body[20:], 65536) // max_write
		}
	case 3: // GETATTR
		errno = 0
		body = make([]byte, 16+88)
		le.PutUint64(body[16:], 1)
		le.PutUint32(body[16+60:], syscall.S_IFDIR|0o755)
		le.PutUint32(body[16+64:], 1)
	case 27: // OPENDIR
		errno = 0
		body = make([]byte, 16)
	case 28, 29, 25, 38: // READDIR: the end; RELEASEDIR, FLUSH, DESTROY
		errno = 0
	}
	if r.hold && op != 26 && op != 3 {
		r.held() <- op
		return nil
	}
	h := le.AppendUint32(nil, uint32(16+len(body)))
	h = le.AppendUint32(h, uint32(errno))
	h = le.AppendUint64(h, unique)
	if _, err := unix.Write(dev, append(h, body...)); err != nil && err != unix.ENOENT && err != unix.ENODEV {
		return err
	}
	if op == 26 && r.init == "refuse" {
		return errRefused
	}
	return nil
}

// program is a started child program.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startProgram starts a child program as uid, with files from descriptor 3 on.
func startProgram(t *testing.T, name string, uid int, files []*os.File, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command("/proc/self/exe", args...)}
	p.cmd.Env = append(os.Environ(), envProgram+"="+name)
	p.cmd.Stderr = os.Stderr
	p.cmd.ExtraFiles = files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	var err error
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		go p.cmd.Wait() // one that waits for an answer ends only after its server
	})
	return p
}

func (p *program) line() string {
	p.t.Helper()
	text, err := p.out.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimSuffix(text, "\n")
}

// end lets the program end and waits for it; its status is returned.
func (p *program) end() int {
	p.in.Close()
	io.Copy(io.Discard, p.out)
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}
