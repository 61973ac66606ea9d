//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Server is one row's competitor: how to build it and how to start it.
type Server struct {
	Name  string
	Build func(b *Builder) (string, error)
	Args  func(mnt, src string) []string // nil: no server, the client works in src itself
}

// Running is a server with its mount.
type Running struct {
	Server
	Dir  string // where the client works
	cmd  *exec.Cmd
	out  *bytes.Buffer
	dead chan struct{} // closed when the process has been waited for
	conn string        // its directory below /sys/fs/fuse/connections, "" for none
	Gone error         // why it is not visited any more

	IdleRSS, LoadRSS int64 // bytes
	IdleCPU          float64
	Threads          int
}

const (
	mountWait = 10 * time.Second
	stopWait  = 5 * time.Second
)

// start runs the server and returns when its mount is visible.
func start(ctx context.Context, s Server, path, mnt, src string) (*Running, error) {
	r := &Running{Server: s, Dir: mnt, out: new(bytes.Buffer)}
	if s.Args == nil {
		r.Dir = src
		return r, nil
	}
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return nil, err
	}
	r.cmd = exec.Command(path, s.Args(mnt, src)...)
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	r.dead = make(chan struct{})
	go func() {
		r.cmd.Wait()
		close(r.dead)
	}()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(mountWait)
	for {
		dev, err := mountDevice(mnt)
		if err == nil {
			r.conn = filepath.Join("/sys/fs/fuse/connections", dev)
			return r, nil
		}
		select {
		case <-poll.C:
		case <-r.dead:
			return nil, fmt.Errorf("%s ended before it was mounted: %s", s.Name, firstLine(r.out.String()))
		case <-deadline:
			r.stop()
			return nil, fmt.Errorf("%s was not mounted within %v", s.Name, mountWait)
		case <-ctx.Done():
			r.stop()
			return nil, ctx.Err()
		}
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// mountDevice finds the minor number of the file system on dir, which is also its connection's name, without touching the mount.
func mountDevice(dir string) (string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 4 && f[4] == dir {
			_, minor, _ := strings.Cut(f[2], ":")
			return minor, nil
		}
	}
	return "", errors.New("not mounted")
}

// abort ends the connection, so that whoever waits for an answer gets an error instead.
func (r *Running) abort() {
	if r.conn != "" {
		os.WriteFile(filepath.Join(r.conn, "abort"), []byte("1"), 0)
	}
}

// stop unmounts, waits for the server to leave and makes it leave if it does not.
func (r *Running) stop() {
	if r.cmd == nil {
		return
	}
	if _, err := mountDevice(r.Dir); err == nil {
		if syscall.Unmount(r.Dir, 0) != nil {
			r.abort()
			syscall.Unmount(r.Dir, syscall.MNT_DETACH)
		}
	} else {
		r.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-r.dead:
	case <-time.After(stopWait):
		r.abort()
		r.cmd.Process.Kill()
		<-r.dead
	}
	r.cmd = nil
}

// usage is what the tasks of a process have cost so far, by thread.
type usage map[int]taskUsage

type taskUsage struct {
	cpu      int64 // ns on a CPU
	switches int64 // times it got a CPU
}

func readUsage(pid int) usage {
	u := usage{}
	for _, tid := range tasks(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, tid))
		if err != nil {
			continue
		}
		if f := strings.Fields(string(b)); len(f) == 3 {
			cpu, _ := strconv.ParseInt(f[0], 10, 64)
			n, _ := strconv.ParseInt(f[2], 10, 64)
			u[tid] = taskUsage{cpu, n}
		}
	}
	return u
}

// since adds up what was spent after before; threads that ended meanwhile took their share with them.
func (u usage) since(before usage) (sum taskUsage) {
	for tid, t := range u {
		sum.cpu += t.cpu - before[tid].cpu
		sum.switches += t.switches - before[tid].switches
	}
	return sum
}

func tasks(pid int) []int {
	ents, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	out := make([]int, 0, len(ents))
	for _, e := range ents {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, tid)
		}
	}
	return out
}

// pin moves every thread of the server to one CPU, after its start: a Go server keeps the GOMAXPROCS of the whole machine.
func (r *Running) pin(cpu int) error {
	if r.cmd == nil {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	var moved []int
	for { // a thread made meanwhile has the affinity of its maker
		all := tasks(r.cmd.Process.Pid)
		fresh := slices.DeleteFunc(slices.Clone(all), func(tid int) bool { return slices.Contains(moved, tid) })
		if len(fresh) == 0 {
			return nil
		}
		for _, tid := range fresh {
			if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("pin %s: %w", r.Name, err)
			}
		}
		moved = append(moved, fresh...)
	}
}

// rss is the server's resident memory in bytes.
func (r *Running) rss() int64 {
	if r.cmd == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
