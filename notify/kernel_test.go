//go:build linux

package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/wire"
)

// The tests with a kernel run in two further processes, both of them this test binary: the test again in a mount and a PID
// namespace of its own, where it is the client, and the server.

const (
	envIsolated = "PUREFUSE_TEST_ISOLATED"
	envServer   = "PUREFUSE_TEST_SERVER"
	envDebug    = "PUREFUSE_TEST_DEBUG" // the server looks for deadlocks
	patient     = time.Minute           // for one step, also on a busy machine
	limit       = 4 * time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else each process of a race build ends a second late
	}
	if dir := os.Getenv(envServer); dir != "" {
		os.Exit(serverMain(dir))
	}
	os.Exit(m.Run())
}

// isolated reports whether the test runs in its own namespaces. If not, it has run the test there, and the caller returns.
func isolated(t *testing.T) bool {
	if os.Getenv(envIsolated) == t.Name() {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make a mount namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+(limit-5*time.Second).String())
	cmd.Env = append(os.Environ(), envIsolated+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Cloneflags: syscall.CLONE_NEWPID}
	cmd.WaitDelay = 5 * time.Second // a process that waits in the kernel keeps the pipe
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// server is a started server and its mount.
type server struct {
	*testing.T
	dir string
	id  int // of the connection
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	log *output

	mu   sync.Mutex
	dead string // why the watchdog has ended it
}

// output is what the server has logged; the test's own output has it, too.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	return os.Stderr.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func serve(t *testing.T, env ...string) *server {
	require.NoError(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	require.NoError(t, unix.Mount("connections", "/sys/fs/fuse/connections", "fusectl", 0, "")) // for the watchdog
	// This namespace's copies of the FUSE mounts of others would keep those alive.
	others, err := mountinfo.GetMounts(func(in *mountinfo.Info) (skip, stop bool) {
		return in.FSType != "fuse" && in.FSType != "fuseblk" && !strings.HasPrefix(in.FSType, "fuse."), false
	})
	require.NoError(t, err)
	for _, in := range others {
		require.NoError(t, unix.Unmount(in.Mountpoint, unix.MNT_DETACH))
	}
	s := &server{T: t, dir: t.TempDir(), log: &output{}}
	s.cmd = exec.Command("/proc/self/exe")
	s.cmd.Env = append(append(os.Environ(), env...), envServer+"="+s.dir)
	s.cmd.Stderr = s.log
	s.in, err = s.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.out = bufio.NewScanner(out)
	s.out.Buffer(nil, 1<<20)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		stop := s.watch("the end of the server")
		s.in.Close()
		err := s.cmd.Wait()
		stop()
		require.NoError(t, err, s.reason())
		require.Nil(t, mounted(t, s.dir))
	})
	defer s.watch("the start of the server")()
	require.True(t, s.out.Scan())
	require.Equal(t, "serving", s.out.Text())
	s.id = mounted(t, s.dir).Minor
	return s
}

func mounted(t *testing.T, dir string) *mountinfo.Info {
	list, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	require.NoError(t, err)
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// watch ends the connection if what does not end in time: a deadlock must end, too.
func (s *server) watch(what string) (stop func()) {
	timer := time.AfterFunc(patient, func() {
		s.mu.Lock()
		s.dead = what + " takes too long"
		s.mu.Unlock()
		s.cmd.Process.Signal(syscall.SIGQUIT) // for the stacks
		if id := s.id; id != 0 {
			os.WriteFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", id), []byte("1"), 0)
		}
	})
	return func() { timer.Stop() }
}

func (s *server) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// do sends a command and returns the answer.
func (s *server) do(format string, args ...any) string {
	s.Helper()
	command := fmt.Sprintf(format, args...)
	defer s.watch(command)()
	_, err := fmt.Fprintln(s.in, command)
	require.NoError(s, err, s.reason())
	require.True(s, s.out.Scan(), s.reason())
	answer, err := strconv.Unquote(s.out.Text())
	require.NoError(s, err)
	return answer
}

// ok sends commands that give no answer.
func (s *server) ok(commands ...string) {
	s.Helper()
	for _, c := range commands {
		require.Empty(s, s.do("%s", c), c)
	}
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *server) read(name string) string {
	s.Helper()
	defer s.watch("reading " + name)()
	b, err := os.ReadFile(s.path(name))
	require.NoError(s, err, s.reason())
	return string(b)
}

func (s *server) exists(name string) bool {
	s.Helper()
	defer s.watch("looking at " + name)()
	_, err := os.Lstat(s.path(name))
	if err != nil {
		require.ErrorIs(s, err, os.ErrNotExist, s.reason())
	}
	return err == nil
}

func (s *server) mode(name string) os.FileMode {
	s.Helper()
	defer s.watch("looking at " + name)()
	info, err := os.Lstat(s.path(name))
	require.NoError(s, err, s.reason())
	return info.Mode().Perm()
}

// since skips if the kernel does not know a notification.
func (s *server) since(code wire.NotifyCode) {
	if answer := s.do("supports %d", code); answer != "" {
		require.Equal(s, "ENOSYS", answer)
		s.Skipf("this kernel has no FUSE_NOTIFY_%v", code)
	}
}

// with is s for a subtest.
func (s *server) with(t *testing.T) *server {
	return &server{T: t, dir: s.dir, id: s.id, cmd: s.cmd, in: s.in, out: s.out, log: s.log}
}

// letters is the letter in each page of a file.
func letters(data string) (s string) {
	for i := 0; i < len(data); i += 4096 {
		s += data[i : i+1]
	}
	return s
}

// TestKernel shows each notification by what a client sees: what it has seen before, whatever has happened since, and the
// news after the notification. It is made directly, and by the queue.
func TestKernel(t *testing.T) {
	if !isolated(t) {
		return
	}
	s := serve(t)
	for _, later := range []string{"", "later "} {
		p := strings.TrimSpace(later) // of names
		f := func(name string) string { return name + p }
		id := func(name string) string { return s.do("id %s", name) }
		run := func(name string, code wire.NotifyCode, test func(s *server)) {
			t.Run(later+name, func(t *testing.T) {
				sub := s.with(t)
				sub.since(code)
				test(sub)
			})
		}
		run("inval inode", wire.NotifyInvalInode, func(s *server) {
			name := f("data")
			s.ok("file " + name + " old")
			require.Equal(s, "old", s.read(name))
			s.ok("set " + name + " new") // of the same size, as the kernel asks for attributes now and then
			require.Equal(s, "old", s.read(name))
			s.ok(later + "inval " + id(name) + " 0 0")
			require.Equal(s, "new", s.read(name))
			require.Equal(s, "ENOENT", s.do("inval 4711 0 0"))
		})
		run("range", wire.NotifyInvalInode, func(s *server) {
			name := f("range")
			s.ok("file "+name+" -", "fill "+name+" aaaa")
			require.Equal(s, "aaaa", letters(s.read(name)))
			s.ok("fill " + name + " bbbb")
			require.Equal(s, "aaaa", letters(s.read(name)))
			s.ok(later + "inval " + id(name) + " 8192 1")
			require.Equal(s, "aaba", letters(s.read(name)))
			s.ok(later + "inval " + id(name) + " 4097 0")
			require.Equal(s, "abbb", letters(s.read(name)))
		})
		run("attributes", wire.NotifyInvalInode, func(s *server) {
			name := f("attr")
			s.ok("file " + name + " data")
			s.read(name)
			require.EqualValues(s, 0o644, s.mode(name))
			s.ok("chmod " + name + " 0600")
			require.EqualValues(s, 0o644, s.mode(name))
			reads := s.do("reads %s", name)
			s.ok(later + "inval " + id(name) + " -1 0")
			require.EqualValues(s, 0o600, s.mode(name))
			s.read(name)
			require.Equal(s, reads, s.do("reads %s", name), "the data were still good")
		})
		run("inval entry", wire.NotifyInvalEntry, func(s *server) {
			from, to := f("from"), f("to")
			s.ok("file " + from + " x")
			require.True(s, s.exists(from))
			require.False(s, s.exists(to))
			s.ok("mv " + from + " " + to)
			require.True(s, s.exists(from))
			require.False(s, s.exists(to))
			s.ok(later + "entry 1 " + from)
			require.False(s, s.exists(from))
			require.False(s, s.exists(to))
			s.ok(later + "entry 1 " + to) // that there is no such name is known, too
			require.True(s, s.exists(to))
			require.Equal(s, "ENOENT", s.do("entry 1 never-seen"))
			require.Equal(s, "ENOTDIR", s.do("entry %s x", id(to)))
			require.Equal(s, "ENAMETOOLONG", s.do("entry 1 %s", strings.Repeat("n", 5000)))
		})
		run("expire entry", wire.NotifyInvalEntry, func(s *server) {
			name := f("expire")
			s.ok("file " + name + " x")
			require.True(s, s.exists(name))
			s.ok("rm " + name)
			require.True(s, s.exists(name))
			s.ok(later + "expire 1 " + name)
			require.False(s, s.exists(name))
		})
		run("delete", wire.NotifyDelete, func(s *server) {
			name, dir := f("gone"), f("full")
			s.ok("file "+name+" x", "dir "+dir, "in "+dir+" y")
			require.True(s, s.exists(name))
			require.True(s, s.exists(dir+"/y"))
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
			require.NoError(s, err)
			defer unix.Close(fd)
			_, err = unix.InotifyAddWatch(fd, s.path(name), unix.IN_DELETE_SELF)
			require.NoError(s, err)
			ino := id(name)
			s.ok("rm " + name)
			require.True(s, s.exists(name))
			inside, err := os.Open(s.path(dir + "/y")) // else the kernel would forget it, and find the directory empty
			require.NoError(s, err)
			require.Equal(s, "ENOTEMPTY", s.do("delete 1 %s %s", id(dir), dir))
			inside.Close()
			events := make([]byte, 4096)
			_, err = unix.Read(fd, events)
			require.Equal(s, unix.EAGAIN, err)
			s.ok(later + "delete 1 " + ino + " " + name)
			require.False(s, s.exists(name))
			n, err := unix.Read(fd, events)
			require.NoError(s, err)
			require.GreaterOrEqual(s, n, unix.SizeofInotifyEvent)
			require.EqualValues(s, unix.IN_DELETE_SELF, binary.NativeEndian.Uint32(events[4:]))
			require.Equal(s, "ENOENT", s.do("delete 1 1 %s", dir), "that is another inode")
		})
		run("store", wire.NotifyStore, func(s *server) {
			name := f("store")
			s.ok("file " + name + " 0123456789")
			require.Equal(s, "0123456789", s.read(name))
			require.Equal(s, "0123456789", s.read(name))
			reads := s.do("reads %s", name)
			s.ok(later + "store " + id(name) + " 3 abc")
			require.Equal(s, "012abc6789", s.read(name))
			s.ok("set "+name+" ??????????????", later+"store "+id(name)+" 8 longer") // the file has grown by that
			require.Equal(s, "012abc67longer", s.read(name))
			require.Equal(s, reads, s.do("reads %s", name), "nothing was asked for")
		})
		run("retrieve", wire.NotifyRetrieve, func(s *server) {
			name := f("cache")
			s.ok("file "+name+" -", "fill "+name+" abcdefgh")
			require.True(s, s.exists(name))
			require.Empty(s, s.do("%sretrieve %s 0 100", later, id(name)), "nothing is cached")
			require.Equal(s, "abcdefgh", letters(s.read(name)))
			s.ok("fill " + name + " ABCDEFGH")
			require.Equal(s, "abcdefgh", letters(s.do("%sretrieve %s 0 100000", later, id(name))))
			require.Equal(s, "cd", letters(s.do("%sretrieve %s 8192 8192", later, id(name))))
			require.Equal(s, "hh", s.do("%sretrieve %s %d 100", later, id(name), 8*4096-2))
			require.Empty(s, s.do("%sretrieve %s %d 100", later, id(name), 8*4096))
			s.ok(later + "inval " + id(name) + " 12288 1")
			require.Equal(s, "abc", letters(s.do("%sretrieve %s 0 100000", later, id(name))))
			require.Equal(s, "ENOENT", s.do("retrieve 4711 0 1"))
		})
		run("epoch", wire.NotifyIncEpoch, func(s *server) {
			a, b := f("e1"), f("e2")
			s.ok("file "+a+" x", "file "+b+" x")
			require.True(s, s.exists(a))
			require.True(s, s.exists(b))
			s.ok("rm "+a, "rm "+b)
			require.True(s, s.exists(a))
			require.True(s, s.exists(b))
			s.ok(later + "epoch")
			require.False(s, s.exists(a))
			require.False(s, s.exists(b))
		})
		run("prune", wire.NotifyPrune, func(s *server) {
			name := f("prune")
			s.ok("file " + name + " old")
			require.Equal(s, "old", s.read(name))
			s.ok("set "+name+" new", later+"prune 4711")
			require.Equal(s, "old", s.read(name))
			open, err := os.Open(s.path(name))
			require.NoError(s, err)
			s.ok(later + "prune " + id(name)) // it is in use
			require.Equal(s, "old", s.read(name))
			open.Close()
			for deadline := time.Now().Add(patient); s.do("lookups %s", name) != "0"; { // the close ends when the kernel gets to it
				require.True(s, time.Now().Before(deadline))
				s.ok(later + "prune " + id(name))
			}
			require.Equal(s, "new", s.read(name))
		})
	}
	t.Run("wake-up", func(t *testing.T) {
		sub := s.with(t)
		sub.ok("file poll x")
		fd, err := unix.Open(s.path("poll"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(set, 0)
		require.NoError(t, err)
		require.Zero(t, n)
		woken := make(chan int, 1)
		defer sub.watch("the wake-up")()
		go func() {
			n := 0
			for n == 0 {
				n, _ = unix.Poll(set, -1)
			}
			woken <- n
		}()
		sub.ok("tick")
		require.Equal(t, 1, <-woken)
	})
	// Last, as the server leaves a request without a reply, which the kernel sends again.
	t.Run("resend", func(t *testing.T) {
		sub := s.with(t)
		sub.since(wire.NotifyResend)
		sub.ok("file again x")
		require.True(t, sub.exists("again"))
		sub.ok("inval "+sub.do("id again")+" -1 0", "hold")
		answered := make(chan error, 1)
		go func() {
			_, err := os.Lstat(s.path("again"))
			answered <- err
		}()
		first, err := strconv.ParseUint(sub.do("held"), 16, 64)
		require.NoError(t, err)
		sub.ok("resend")
		again, err := strconv.ParseUint(sub.do("held"), 16, 64)
		require.NoError(t, err)
		require.Equal(t, first|wire.UniqueResend, again)
		defer sub.watch("the request that was sent again")()
		require.NoError(t, <-answered)
	})
}

// client works on its file, which is notified of, and on names of its own, as long as there is more to do.
func (s *server) client(i int, more func(round int) bool) error {
	name := func(s string) string { return fmt.Sprint(s, i) }
	shared, err := os.OpenFile(s.path(name("f")), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer shared.Close()
	for round := 0; more(round); round++ {
		mine := fmt.Sprintf("%8d", round)
		if _, err := shared.WriteAt([]byte(mine), int64(i)*512); err != nil {
			return err
		}
		got := make([]byte, len(mine))
		if _, err := shared.ReadAt(got, int64(i)*512); err != nil || string(got) != mine {
			return fmt.Errorf("%q is in the shared file, not %q: %w", got, mine, err)
		}
		a, b := s.path(name("a")), s.path(name("b"))
		if err := os.WriteFile(a, []byte(mine), 0o644); err != nil {
			return err
		}
		if err := os.Rename(a, b); err != nil {
			return err
		}
		if got, err := os.ReadFile(b); err != nil || string(got) != mine {
			return fmt.Errorf("%q is in the file, not %q: %w", got, mine, err)
		}
		if _, err := os.Lstat(a); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the old name: %w", err)
		}
		if err := os.Remove(b); err != nil {
			return err
		}
		if list, err := os.ReadDir(s.dir); err != nil || len(list) < 8 {
			return fmt.Errorf("%d names: %w", len(list), err)
		}
	}
	return nil
}

// clients starts 8 clients and returns what waits for their end.
func (s *server) clients(more func(round int) bool) (wait func()) {
	for i := range 8 {
		s.ok(fmt.Sprintf("file f%d x", i))
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.client(i, more) })
	}
	return func() {
		defer s.watch("the end of the clients")()
		wg.Wait()
		require.NoError(s, errors.Join(errs...), s.reason())
	}
}

// TestStress has 8 goroutines send 10⁵ notifications while 8 clients work with what they are about and one waits in poll(2)
// again and again.
func TestStress(t *testing.T) {
	if !isolated(t) {
		return
	}
	s := serve(t)
	s.since(wire.NotifyPrune)
	s.ok("file poll x", "file other x")
	require.Equal(t, "x", s.read("other"))

	var stop atomic.Bool
	var rounds atomic.Int64
	wait := s.clients(func(int) bool {
		rounds.Add(1)
		return !stop.Load()
	})
	fd, err := unix.Open(s.path("poll"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	var last atomic.Int64 // the count after the last tick, 0: there are more to come
	poller := make(chan error, 1)
	go func() { // until it has seen the last tick
		for p := make([]byte, 20); ; {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if err == unix.EINTR {
				continue
			}
			n, rerr := unix.Read(fd, p)
			if err = errors.Join(err, rerr); err != nil || string(p[:n]) == strconv.FormatInt(last.Load(), 10) {
				poller <- err
				return
			}
		}
	}()
	for delivered := int64(0); delivered < 100_000 || rounds.Load() < 1000; {
		n, err := strconv.ParseInt(s.do("stress 12500"), 10, 64)
		require.NoError(t, err)
		delivered += n
	}
	count, err := strconv.ParseInt(s.do("count"), 10, 64)
	require.NoError(t, err)
	last.Store(count + 1)
	s.ok("tick")
	stop.Store(true)
	wait()
	defer s.watch("the last wake-up")()
	require.NoError(t, <-poller)
}

// TestInsideOperations has every lookup, rename, unlink, write and release queue notifications about what it works on.
func TestInsideOperations(t *testing.T) {
	if !isolated(t) {
		return
	}
	s := serve(t)
	s.ok("file other x")
	s.do("inside on")
	const rounds = 200
	s.clients(func(round int) bool { return round < rounds })()
	sent, err := strconv.Atoi(s.do("inside off"))
	require.NoError(t, err)
	require.Greater(t, sent, 8*rounds*5)
}

// TestDirectInsideOperation shows why there is a queue: unlink(2) holds the directory's lock until it is answered, and the
// notification from inside the operation waits for that lock. It is found in debug mode, and does not outlive the session.
func TestDirectInsideOperation(t *testing.T) {
	if !isolated(t) {
		return
	}
	s := serve(t, envDebug+"=1")
	s.ok("file f x", "direct")
	require.True(t, s.exists("f"))
	removed := make(chan error, 1)
	go func() { removed <- os.Remove(s.path("f")) }()
	for deadline := time.Now().Add(patient); !strings.Contains(s.log.String(), "level=ERROR"); time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), s.log)
	}
	require.Contains(t, s.log.String(), "notification inside the handler of a request that it may wait for")
	require.Equal(t, 2, strings.Count(s.log.String(), "treeFS).unlink("), "both stacks")
	for deadline := time.Now().Add(patient); !strings.Contains(s.log.String(), "waits for a request without a reply"); time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), s.log)
	}
	require.Empty(t, removed)
	s.in.Close() // the server closes its session
	defer s.watch("the removal")()
	require.Error(t, <-removed)
}
