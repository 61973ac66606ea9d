//go:build linux

package fusetest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

func TestMain(m *testing.M) {
	fusetest.Main(m, map[string]func(){"tree": treeMain})
}

// treeMain serves a tree on its last argument. What is called "hang" never gets an answer.
func treeMain() {
	tr := newTree()
	lookup := tr.ops.Lookup
	tr.ops.Lookup = func(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name) {
		if name.String() == "hang" {
			return
		}
		lookup(r, parent, name)
	}
	err := func() error {
		s, err := lowlevel.New(&tr.ops, nil)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Mount(context.Background(), os.Args[len(os.Args)-1]); err != nil {
			return err
		}
		s.HandleSignals()
		return s.Serve(context.Background())
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestMount mounts the tree for real and holds it against POSIX.
func TestMount(t *testing.T) {
	fusetest.InNamespace(t, func(t *testing.T) {
		dir := fusetest.Mount(t, "tree")
		fusetest.Conform(t, dir)
	})
}

// TestConformOnDisk shows that Conform asks for nothing that the kernel's own file systems do not do.
func TestConformOnDisk(t *testing.T) {
	fusetest.Conform(t, t.TempDir())
	if _, err := os.Stat("/dev/shm"); err == nil {
		dir, err := os.MkdirTemp("/dev/shm", "conform")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		fusetest.Conform(t, dir)
	}
}

// recorder is a test that may fail without failing this one.
type recorder struct {
	testing.TB
	text strings.Builder
}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }
func (r *recorder) Logf(format string, args ...any)   { fmt.Fprintf(&r.text, format+"\n", args...) }
func (r *recorder) Log(args ...any)                   { fmt.Fprintln(&r.text, args...) }
func (r *recorder) Helper()                           {}

// TestWatch has a server that never answers: the watchdog tells where both sides are, and frees the caller.
func TestWatch(t *testing.T) {
	fusetest.InNamespace(t, func(t *testing.T) {
		s := fusetest.Start(t, "tree", fusetest.MountPoint)
		r := &recorder{TB: t}
		fusetest.Watch(r, time.Second, func() {
			_, err := os.Stat(filepath.Join(s.Dir, "hang"))
			require.ErrorIs(t, err, syscall.ECONNABORTED)
		})
		<-s.Done()
		text := r.text.String()
		require.Regexp(t, `waiting requests: 1\n`, text)
		require.Contains(t, text, "nothing happens for 1s")
		require.Contains(t, text, "request_wait_answer") // the kernel function in which the caller waits
		require.Contains(t, text, "SIGQUIT")
		require.Contains(t, text, "session.(*Session).Serve")
	})
}

// TestMountFails reports a server that ends before it has mounted.
func TestMountFails(t *testing.T) {
	r := &fataler{recorder: recorder{TB: t}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fusetest.Mount(r, "/bin/sh", "-c", "echo cannot; exit 3")
	}()
	<-done
	require.Contains(t, r.text.String(), "exit status 3")
	require.Contains(t, r.text.String(), "cannot")
}

// fataler ends the goroutine, as a test does.
type fataler struct{ recorder }

func (f *fataler) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// TestLeaks runs TestLeaky in a process of its own: that fails, and lists what was left.
func TestLeaks(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestLeaky$")
	cmd.Env = append(os.Environ(), "PUREFUSE_FUSETEST_LEAK=1")
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "exit status 1", "%s", out)
	for _, want := range []string{"goroutine left behind:\ngoroutine ", "fusetest_test.leak", "descriptor left open: ", "/etc/passwd", "process left behind: ", "(cat)"} {
		require.Contains(t, string(out), want)
	}
}

var leaked []any // keeps them from being collected

func leak() { select {} }

// TestLeaky leaves things behind if it is asked to.
func TestLeaky(t *testing.T) {
	if os.Getenv("PUREFUSE_FUSETEST_LEAK") == "" {
		return
	}
	go leak()
	f, err := os.Open("/etc/passwd")
	require.NoError(t, err)
	cat := exec.Command("cat") // ends with this process
	in, err := cat.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cat.Start())
	leaked = append(leaked, f, in, cat)
}
