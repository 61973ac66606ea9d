//go:build linux

package fusetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/purefuse/purefuse/internal/sys"
)

const (
	envProgram   = "PUREFUSE_FUSETEST_PROGRAM"   // be that program instead of the tests
	envNamespace = "PUREFUSE_FUSETEST_NAMESPACE" // the test that runs in namespaces of its own
)

// programs are what Main can be instead of the tests.
var programs map[string]func()

// Main is what a package's TestMain calls; it does not return. It runs the tests, and fails the package if they leave goroutines,
// descriptors, mounts or child processes behind, which it lists. programs are functions that Mount can run in a process of their
// own, by name; each finds its arguments in os.Args.
//
//	func TestMain(m *testing.M) { fusetest.Main(m, map[string]func(){"myfs": main}) }
func Main(m *testing.M, list map[string]func()) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else each child process of a race build ends a second late
	}
	programs = list
	if name := os.Getenv(envProgram); name != "" {
		main := programs[name]
		if main == nil {
			fmt.Fprintf(os.Stderr, "fusetest: no program %q\n", name)
			os.Exit(2)
		}
		os.Unsetenv(envProgram)
		main()
		os.Exit(0)
	}
	before := takeStock()
	code := m.Run()
	if left := before.left(); left != "" && code == 0 {
		fmt.Fprint(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}

// stock is what a process has.
type stock struct {
	goroutines map[string]string // by "goroutine N"
	files      map[string]bool   // "number target"
	children   []string
	mounts     map[int]string
}

func takeStock() stock {
	s := stock{goroutines: make(map[string]string), files: make(map[string]bool), children: children(), mounts: make(map[int]string)}
	buf := make([]byte, 1<<20)
	for n := runtime.Stack(buf, true); ; n = runtime.Stack(buf, true) {
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		id, _, _ := strings.Cut(g, " [")
		s.goroutines[id] = g
	}
	dir, err := os.ReadDir("/proc/self/fd")
	if err == nil {
		for _, e := range dir {
			if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
				s.files[e.Name()+" "+target] = true
			}
		}
	}
	all, err := mountinfo.GetMounts(nil)
	if err == nil {
		for _, in := range all {
			if fs, _, _ := strings.Cut(in.FSType, "."); fs == "fuse" || fs == "fuseblk" {
				s.mounts[in.ID] = in.Mountpoint
			}
		}
	}
	return s
}

// left lists what is there now and was not; what is about to end gets time to do so.
func (s stock) left() (text string) {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if text = s.compare(takeStock()); text == "" || time.Now().After(end) {
			return text
		}
	}
}

// Of the runtime's own, which come when they are first needed and stay.
var ownGoroutines = []string{"fusetest.takeStock", "os/signal.loop", "os/signal.signal_recv", "runtime.ensureSigM"}

var ownFiles = []string{"anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[pidfd]"}

func (s stock) compare(now stock) string {
	var b strings.Builder
	for id, g := range now.goroutines {
		if _, ok := s.goroutines[id]; !ok && !slices.ContainsFunc(ownGoroutines, func(own string) bool { return strings.Contains(g, own) }) {
			fmt.Fprintf(&b, "goroutine left behind:\n%s\n", g)
		}
	}
	for f := range now.files {
		number, target, _ := strings.Cut(f, " ")
		if !s.files[f] && !slices.Contains(ownFiles, target) && !strings.HasPrefix(target, "/proc/"+fmt.Sprint(os.Getpid())+"/fd") {
			fmt.Fprintf(&b, "descriptor left open: %s %s\n", number, target)
		}
	}
	for _, c := range now.children {
		if !slices.Contains(s.children, c) {
			fmt.Fprintf(&b, "process left behind: %s\n", c)
		}
	}
	tmp := filepath.Clean(os.TempDir()) + "/"
	ours := os.Getenv(envNamespace) != "" // else others mount here, too
	servers.mu.Lock()
	defer servers.mu.Unlock()
	for id, dir := range now.mounts {
		if _, ok := s.mounts[id]; ok {
			continue
		}
		mine := slices.ContainsFunc(servers.list, func(o *Server) bool { return o.id.ID == uint64(id) })
		if mine || ours && strings.HasPrefix(dir, tmp) {
			fmt.Fprintf(&b, "mount left behind: %s (mount id %d)\n", dir, id)
		}
	}
	return b.String()
}

// InNamespace runs f in a copy of the test binary that has a mount and a PID namespace of its own, so that nothing it mounts or
// starts can outlive it, nor be seen by others. t fails if f does, or takes longer than a few minutes. It needs root.
func InNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	const limit = 3 * time.Minute
	if os.Getenv(envNamespace) == t.Name() {
		enter(t)
		f(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make a mount namespace")
	}
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run="+strings.Join(parts, "/"), "-test.v", "-test.count=1", "-test.timeout="+(limit-5*time.Second).String())
	cmd.Env = append(os.Environ(), envNamespace+"="+t.Name())
	cmd.SysProcAttr = sys.OwnMounts()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in its own namespaces: %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// enter makes /proc show the PID namespace and /sys the connections, and drops the mounts of others, which this namespace would
// keep alive.
func enter(t *testing.T) {
	if err := sys.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	sys.Mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, "") // EBUSY if it is there; Watch can do without
	for _, dir := range takeStock().mounts {
		if err := sys.Unmount(dir, sys.Detach); err != nil && err != syscall.EINVAL {
			t.Fatalf("unmount %s: %v", dir, err)
		}
	}
}
