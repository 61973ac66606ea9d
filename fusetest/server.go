//go:build linux

package fusetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/purefuse/purefuse/internal/sys"
)

// patient is how long something may take that takes milliseconds, before it counts as hanging.
const patient = 30 * time.Second

// MountPoint stands for the mount point in the arguments of Mount and Start.
const MountPoint = "{mountpoint}"

// Mount mounts a file system until the test ends: it starts program in the foreground, which must mount on its argument MountPoint,
// or on its last argument if none is that, and serve. program is the path of a command or the name of a function that was given to
// Main. The directory that it returns is mounted; code that touches it belongs inside Watch.
func Mount(tb testing.TB, program string, args ...string) (dir string) {
	tb.Helper()
	return Start(tb, program, args...).Dir
}

// Server is a process that serves a mount.
type Server struct {
	Dir  string // the mount point, a directory of the test's own
	Conn uint32 // the number of the connection below /sys/fs/fuse/connections

	tb     testing.TB
	cmd    *exec.Cmd
	id     sys.MountID
	output lockedBuffer
	done   chan struct{}
	quit   sync.Once
}

// servers are those that run, for Watch and for the leak check.
var servers struct {
	mu   sync.Mutex
	list []*Server
}

// Start is Mount with a handle of the server.
func Start(tb testing.TB, program string, args ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb, Dir: filepath.Join(tb.TempDir(), "mnt"), done: make(chan struct{})}
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	if i := slices.Index(args, MountPoint); i >= 0 {
		args = slices.Replace(slices.Clone(args), i, i+1, s.Dir)
	} else {
		args = append(slices.Clone(args), s.Dir)
	}
	if _, ok := programs[program]; ok {
		s.cmd = exec.Command("/proc/self/exe", args...)
		s.cmd.Env = append(os.Environ(), envProgram+"="+program)
	} else {
		s.cmd = exec.Command(program, args...)
		s.cmd.Env = os.Environ()
	}
	s.cmd.Env = append(s.cmd.Env, "GOTRACEBACK=all")
	s.cmd.Dir = "/"
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		tb.Fatalf("fusetest: %v", err)
	}
	servers.mu.Lock()
	servers.list = append(servers.list, s)
	servers.mu.Unlock()
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	tb.Cleanup(s.end)
	s.awaitMount()
	return s
}

// PID is the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Output is what the server has printed.
func (s *Server) Output() string { return s.output.String() }

// mounted finds the mount on dir, nil if there is none. No file system is asked for it.
func mountedOn(dir string) (*mountinfo.Info, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var top *mountinfo.Info
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte(" - fuse")) {
			continue
		}
		in, err := mountinfo.GetMountsFromReader(bytes.NewReader(line), mountinfo.SingleEntryFilter(dir))
		if err == nil && len(in) == 1 {
			top = in[0]
		}
	}
	return top, nil
}

// awaitMount waits until something is mounted on s.Dir: the kernel tells of changes of the mount table.
func (s *Server) awaitMount() {
	s.tb.Helper()
	table, err := sys.Open("/proc/self/mountinfo", syscall.O_RDONLY)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer table.Close()
	for end := time.Now().Add(patient); ; {
		in, err := mountedOn(s.Dir)
		if err != nil {
			s.tb.Fatal(err)
		}
		if in != nil {
			s.id = sys.MountID{ID: uint64(in.ID), Major: uint32(in.Major), Minor: uint32(in.Minor)}
			s.Conn = s.id.Conn()
			return
		}
		select {
		case <-s.done:
			s.tb.Fatalf("fusetest: the server has ended (%v) and mounted nothing:\n%s", s.cmd.ProcessState, s.Output())
		default:
		}
		if time.Now().After(end) {
			s.dump()
			s.tb.Fatalf("fusetest: the server does not mount:\n%s", s.Output())
		}
		sys.Poll(100, sys.PollFd{Fd: table.Fd()}) // POLLERR: the table has changed
	}
}

// Abort ends the connection through fusectl: whoever waits for an answer gets an error.
func (s *Server) Abort() error {
	return os.WriteFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", s.Conn), []byte("1\n"), 0)
}

// dump makes the server print its stacks, which ends it.
func (s *Server) dump() {
	s.quit.Do(func() {
		s.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-s.done:
		case <-time.After(patient / 6):
			s.cmd.Process.Kill()
		}
	})
}

// Unmount unmounts, if the mount on Dir is still the server's.
func (s *Server) Unmount(lazy bool) error {
	in, err := mountedOn(s.Dir)
	if err != nil || in == nil || uint64(in.ID) != s.id.ID || s.id.Conn() == 0 {
		return err
	}
	if os.Geteuid() != 0 {
		args := []string{"-u", "--", s.Dir}
		if lazy {
			args = slices.Insert(args, 1, "-z")
		}
		out, err := exec.Command("fusermount3", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("fusermount3: %w: %s", err, out)
		}
		return nil
	}
	flags := 0x8 // UMOUNT_NOFOLLOW
	if lazy {
		flags |= sys.Detach
	}
	return os.NewSyscallError("umount2", sys.Unmount(s.Dir, flags))
}

// end unmounts and waits for the server.
func (s *Server) end() {
	Watch(s.tb, patient, func() {
		err := s.Unmount(false)
		// A server that has only just mounted may still have a descriptor of its mount.
		for start := time.Now(); errors.Is(err, syscall.EBUSY) && time.Since(start) < time.Second; err = s.Unmount(false) {
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			s.tb.Errorf("fusetest: unmount %s: %v", s.Dir, err)
			s.Unmount(true)
		}
		<-s.done
	})
	if in, _ := mountedOn(s.Dir); in != nil && uint64(in.ID) == s.id.ID {
		s.Unmount(true)
	}
	if s.tb.Failed() {
		s.tb.Logf("output of the server:\n%s", s.Output())
	}
	servers.mu.Lock()
	defer servers.mu.Unlock()
	servers.list = slices.DeleteFunc(servers.list, func(o *Server) bool { return o == s })
}

// Watch calls f, which touches mounts. If it takes longer than timeout, the test fails with the kernel stacks of this process's
// threads and the stacks of all servers that Start has started; their connections are aborted and they are killed, so that
// f comes back.
func Watch(tb testing.TB, timeout time.Duration, f func()) {
	tb.Helper()
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			tb.Errorf("fusetest: nothing happens for %v; threads of this process in the kernel:\n%s", timeout, kernelStacks(os.Getpid()))
			rescue(tb)
		}
	}()
	defer func() {
		close(over)
		<-watched
	}()
	f()
}

// rescue ends all servers.
func rescue(tb testing.TB) {
	servers.mu.Lock()
	list := slices.Clone(servers.list)
	servers.mu.Unlock()
	for _, s := range list {
		waiting, _ := os.ReadFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/waiting", s.Conn))
		tb.Logf("server %d of %s, waiting requests: %s threads in the kernel:\n%s", s.PID(), s.Dir, waiting, kernelStacks(s.PID()))
		s.dump() // before the abort, which would send it elsewhere
		if err := s.Abort(); err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Log(err)
		}
		s.cmd.Process.Kill()
		<-s.done
		tb.Logf("server %d printed:\n%s", s.PID(), s.Output())
	}
}

// kernelStacks are the stacks of a process's threads that wait in the kernel in a call of FUSE, and what the others wait for.
func kernelStacks(pid int) string {
	var b strings.Builder
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		comm, _ := os.ReadFile(filepath.Join(task, "comm"))
		stack, err := os.ReadFile(filepath.Join(task, "stack"))
		if err != nil {
			wchan, _ := os.ReadFile(filepath.Join(task, "wchan"))
			stack = append(wchan, '\n')
		}
		fmt.Fprintf(&b, "%s %s%s", filepath.Base(task), comm, stack)
	}
	return b.String()
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// children are the processes that this one has started and not waited for.
func children() (list []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name may hold anything, also spaces and parentheses.
		_, rest, ok := strings.Cut(string(text[max(bytes.LastIndexByte(text, ')'), 0):]), ") ")
		if f := strings.Fields(rest); ok && len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			list = append(list, strings.TrimSpace(string(text[:bytes.LastIndexByte(text, ')')+1])))
		}
	}
	return list
}
