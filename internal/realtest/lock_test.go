//go:build linux

package realtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// locker locks one file: flock(2), or a POSIX lock on its first ten bytes.
type locker struct {
	fd   int
	kind string
}

func openLocker(path, kind string) (*locker, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	return &locker{fd, kind}, err
}

// lock takes a lock, exclusive or shared, and waits for it if told to; "" gives it back.
func (l *locker) lock(how string, wait bool) error {
	if l.kind == "flock" {
		op := map[string]int{"exclusive": unix.LOCK_EX, "shared": unix.LOCK_SH, "": unix.LOCK_UN}[how]
		if !wait {
			op |= unix.LOCK_NB
		}
		return unix.Flock(l.fd, op)
	}
	cmd := unix.F_SETLK
	if wait {
		cmd = unix.F_SETLKW
	}
	lk := unix.Flock_t{Type: map[string]int16{"exclusive": unix.F_WRLCK, "shared": unix.F_RDLCK, "": unix.F_UNLCK}[how], Len: 10}
	return unix.FcntlFlock(uintptr(l.fd), cmd, &lk)
}

func init() {
	// count FILE KIND N adds N to the number in FILE, one at a time under a lock.
	programs["count"] = func(args []string) error {
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		l, err := openLocker(args[0], args[1])
		if err != nil {
			return err
		}
		for range n {
			if err := l.lock("exclusive", true); err != nil {
				return fmt.Errorf("lock: %w", err)
			}
			buf := make([]byte, 10)
			if _, err := unix.Pread(l.fd, buf, 0); err != nil {
				return err
			}
			v, err := strconv.Atoi(string(buf))
			if err != nil {
				return err
			}
			if _, err := unix.Pwrite(l.fd, fmt.Appendf(nil, "%010d", v+1), 0); err != nil {
				return err
			}
			if err := l.lock("", false); err != nil {
				return fmt.Errorf("unlock: %w", err)
			}
		}
		return nil
	}
	// locker FILE KIND takes commands, one a line, and prints what comes of each.
	programs["locker"] = func(args []string) error {
		l, err := openLocker(args[0], args[1])
		if err != nil {
			return err
		}
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			verb, how, _ := strings.Cut(in.Text(), " ")
			switch err := l.lock(how, verb == "wait"); err {
			case nil:
				fmt.Println("ok")
			case syscall.EAGAIN, syscall.EACCES:
				fmt.Println("busy")
			default:
				fmt.Println(err)
			}
		}
		return in.Err()
	}
}

// peer is another process, which takes commands.
type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startPeer(t *testing.T, path, kind string) *peer {
	return talkTo(t, self(t, "locker", path, kind))
}

// talkTo starts a process that answers each line with a line.
func talkTo(t *testing.T, cmd *exec.Cmd) *peer {
	p := &peer{t: t, cmd: cmd}
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.in, p.out = in, bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

func (p *peer) say(command string) {
	_, err := fmt.Fprintln(p.in, command)
	require.NoError(p.t, err)
}

func (p *peer) hear() string {
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimSpace(line)
}

func (p *peer) do(command string) string {
	p.say(command)
	return p.hear()
}

// waits reports whether a thread of the peer is in a system call that locks.
func (p *peer) waits() bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.cmd.Process.Pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		number, _, _ := strings.Cut(string(text), " ")
		for _, n := range []int{unix.SYS_FLOCK, unix.SYS_FCNTL} {
			if number == strconv.Itoa(n) {
				return true
			}
		}
	}
	return false
}

func TestLocks(t *testing.T) {
	if !isolated(t) {
		return
	}
	locks(t, tmpfs(t), passthroughLL, []string{"flock"}, "timeout=1", "writeback,clone_fd", "max_threads=1")
	t.Run("signal", func(t *testing.T) { // ends a server in which somebody waits
		source := tmpfs(t)
		s := start(t, "-f", "-o", "source="+source)
		a, b := startPeer(t, s.path("f"), "flock"), startPeer(t, s.path("f"), "flock")
		require.Equal(t, "ok", a.do("try exclusive"))
		b.say("wait exclusive")
		s.await("the wait", b.waits)
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		require.Equal(t, 1, s.wait())
		require.NotEqual(t, "ok", b.hear())
		require.Nil(t, mounted(t, s.point))
	})
}

// locks locks in both ways with each of the options; the locks of the kinds in through are also those of the file below.
func locks(t *testing.T, source string, k kind, through []string, options ...string) {
	for _, args := range options {
		s := k.mount(t, source, "-o", args)
		for _, kind := range []string{"flock", "posix"} {
			t.Run(args+" "+kind, func(t *testing.T) {
				path := s.path(kind)
				t.Run("exclusion", func(t *testing.T) {
					require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%010d", 0), 0o644))
					const processes = 4
					rounds := scale(100)
					var cmds []*exec.Cmd
					for range processes {
						cmd := self(t, "count", path, kind, strconv.Itoa(rounds))
						cmd.Stderr = os.Stderr
						require.NoError(t, cmd.Start())
						cmds = append(cmds, cmd)
					}
					for _, cmd := range cmds {
						require.NoError(t, cmd.Wait())
					}
					text, err := os.ReadFile(path)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("%010d", processes*rounds), string(text))
				})
				t.Run("modes", func(t *testing.T) {
					a, b := startPeer(t, path, kind), startPeer(t, path, kind)
					require.Equal(t, "ok", a.do("try shared"))
					require.Equal(t, "ok", b.do("try shared"))
					require.Equal(t, "busy", a.do("try exclusive"))
					require.Equal(t, "ok", b.do("try "))
					require.Equal(t, "ok", a.do("try exclusive"))
					require.Equal(t, "busy", b.do("try shared"))
					b.say("wait exclusive")
					s.await("the wait", b.waits)
					require.Equal(t, "ok", a.do("try "))
					require.Equal(t, "ok", b.hear())
					require.Equal(t, "busy", a.do("try shared"))
					// A lock goes with its process, and whoever waits gets it.
					a.say("wait shared")
					s.await("the wait", a.waits)
					require.NoError(t, b.cmd.Process.Kill())
					require.Equal(t, "ok", a.hear())
				})
				t.Run("killed waiter", func(t *testing.T) {
					a, b := startPeer(t, path, kind), startPeer(t, path, kind)
					require.Equal(t, "ok", a.do("try exclusive"))
					b.say("wait exclusive")
					s.await("the wait", b.waits)
					require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
					require.Error(t, b.cmd.Wait()) // which hangs if the wait goes on
					require.Equal(t, "ok", a.do("try "))
					c := startPeer(t, path, kind)
					require.Equal(t, "ok", c.do("try exclusive"))
				})
			})
		}
		for _, kind := range through {
			t.Run(args+" "+kind+" both sides", func(t *testing.T) {
				a, b := startPeer(t, s.path("f"), kind), startPeer(t, filepath.Join(source, "f"), kind)
				require.Equal(t, "ok", a.do("try exclusive"))
				require.Equal(t, "busy", b.do("try shared"))
				require.Equal(t, "ok", a.do("try "))
				require.Equal(t, "ok", b.do("try shared"))
				a.say("wait exclusive")
				s.await("the wait", a.waits)
				require.Equal(t, "ok", b.do("try "))
				require.Equal(t, "ok", a.hear())
			})
		}
	}
}
