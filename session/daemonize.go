//go:build linux

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
)

// DaemonOptions says how Daemonize goes into the background.
type DaemonOptions struct {
	NoChdir      bool // stay in the current directory
	NoBackground bool // stay in the foreground: only change the directory
}

// Daemon is the background process's line to the parent that waits for its outcome. A nil Daemon and one in the
// foreground ignore every call. Its methods may be called from any goroutine, and again.
type Daemon struct {
	mu   sync.Mutex
	line *os.File // nil: nobody waits
}

// daemonEnv carries the number of the descriptor on which the parent waits.
const daemonEnv = "_PUREFUSE_DAEMON_FD"

// daemon is the process's one Daemon: there is only one background to go to.
var daemon struct {
	sync.Mutex
	d *Daemon
}

// Daemonize continues the program in a background process, as libfuse's fuse_daemonize_early_start does.
//
// A Go process cannot fork. So the first call starts the same executable (/proc/self/exe) with the same arguments,
// environment and inherited descriptors, which keep their numbers, and does not return in the process that calls it: that
// one waits for the outcome and exits with it, printing nothing. In the new process, which runs main from its beginning
// and so comes to the same call, Daemonize returns. That process leads a new session, has / as its directory unless
// NoChdir is set, reads /dev/null, and still writes to the old standard output and error until Ready. If the parent
// dies before Ready or Fail, the new process exits with status 1.
//
// What a program does before Daemonize it does twice; it should come right after the command line is read. Capabilities
// follow the rules of execve(2). Once in the background a further call returns the same Daemon. With NoBackground only
// the directory changes. An error means that the background was not reached and the caller is still in the foreground.
func Daemonize(o DaemonOptions) (*Daemon, error) {
	daemon.Lock()
	defer daemon.Unlock()
	if daemon.d != nil {
		return daemon.d, nil
	}
	if v, ok := os.LookupEnv(daemonEnv); ok && !o.NoBackground {
		// Programs that this one starts are not this daemon.
		os.Unsetenv(daemonEnv)
		if fd, err := strconv.ParseUint(v, 10, 31); err == nil && sys.IsSocket(int(fd)) {
			d, err := newDaemon(int(fd), o)
			if err != nil {
				return nil, err
			}
			daemon.d = d
			return d, nil
		}
	}
	if o.NoBackground {
		if !o.NoChdir {
			if err := os.Chdir("/"); err != nil {
				return nil, fmt.Errorf("fuse: daemonize: %w", err)
			}
		}
		daemon.d = new(Daemon)
		return daemon.d, nil
	}
	code, err := runBackground()
	if err != nil {
		return nil, fmt.Errorf("fuse: daemonize: %w", err)
	}
	os.Exit(code)
	panic("unreachable")
}

// runBackground starts the background process and waits for its outcome.
func runBackground() (code int, err error) {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return 0, err
	}
	// Not through exec.Cmd.ExtraFiles, which would take the number 3 from whoever else has it.
	fd := int(theirs.Fd())
	if err := sys.SetCloexec(fd, false); err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), daemonEnv+"="+strconv.Itoa(fd))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return 0, err
	}
	var status [4]byte
	if _, err := io.ReadFull(ours, status[:]); err != nil {
		return 1, nil // it died
	}
	return int(int32(binary.NativeEndian.Uint32(status[:]))), nil
}

// newDaemon makes the calling process, which runBackground has started, a daemon.
func newDaemon(fd int, o DaemonOptions) (*Daemon, error) {
	if err := sys.SetCloexec(fd, true); err != nil {
		return nil, fmt.Errorf("fuse: daemonize: %w", err)
	}
	d := &Daemon{line: os.NewFile(uintptr(fd), "daemon")}
	// ps(1) and pkill(1) go by this name, which execve(2) took from /proc/self/exe. It is no failure if it stays.
	os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	var err error
	if !o.NoChdir {
		err = os.Chdir("/")
	}
	if err = errors.Join(err, sys.ReplaceWithNull(0)); err != nil {
		return nil, fmt.Errorf("fuse: daemonize: %w", err)
	}
	go d.watchParent(d.line)
	return d, nil
}

// watchParent ends the process when the parent dies while it still waits.
func (d *Daemon) watchParent(line *os.File) {
	for {
		ev, err := sys.Poll(-1, sys.PollFd{Fd: line.Fd(), Events: sys.POLLIN})
		if err == syscall.EINTR {
			continue
		}
		if err == nil && ev[0] == 0 {
			continue
		}
		break
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.line != nil {
		os.Exit(1)
	}
	// Not earlier: the number must not be reused while it is polled.
	line.Close()
}

// Ready turns standard output and error to /dev/null and lets the parent exit with status 0. It is to be called when the
// file system serves.
func (d *Daemon) Ready() (err error) {
	// In this order: who waits for the parent may wait for the end of its output, too.
	d.report(0, func() { err = sys.ReplaceWithNull(1, 2) })
	if err != nil {
		return fmt.Errorf("fuse: daemonize: %w", err)
	}
	return nil
}

// Fail lets the parent exit with code, of which the system keeps the low 8 bits. The background process goes on, to clean
// up and exit.
func (d *Daemon) Fail(code int) { d.report(code, func() {}) }

// Active reports whether the parent still waits.
func (d *Daemon) Active() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.line != nil
}

// report calls first and tells the parent its status, if it still waits for it.
func (d *Daemon) report(code int, first func()) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.line == nil {
		return
	}
	first()
	d.line.Write(binary.NativeEndian.AppendUint32(nil, uint32(int32(code)))) // a dead parent needs no status
	sys.Shutdown(d.line)                                                     // which ends watchParent
	d.line = nil
}
