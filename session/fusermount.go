//go:build linux

package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
)

// helper is an installed fusermount3.
type helper struct {
	path         string
	major, minor int
}

func (h helper) atLeast(major, minor int) bool {
	return h.major > major || h.major == major && h.minor >= minor
}

var errNoHelper = errors.New("fusermount3 is not installed")

// helperPath looks for fusermount3 in $PATH, /usr/bin and /bin.
func helperPath() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoHelper
}

var versionLine = regexp.MustCompile(`version: (\d+)\.(\d+)`)

// findHelper finds fusermount3 and asks for its version; one that does not tell counts as the oldest.
func findHelper(ctx context.Context) (helper, error) {
	path, err := helperPath()
	if err != nil {
		return helper{}, err
	}
	h := helper{path: path}
	c, err := startHelper(path, nil, "--version")
	if err != nil {
		return helper{}, err
	}
	if err := c.wait(ctx); err != nil && ctx.Err() != nil {
		return helper{}, err
	}
	if v := versionLine.FindStringSubmatch(c.output()); v != nil {
		h.major, _ = strconv.Atoi(v[1])
		h.minor, _ = strconv.Atoi(v[2])
	}
	c.out.Close()
	return h, nil
}

// helperRun is one running fusermount3.
type helperRun struct {
	cmd    *exec.Cmd
	out    *os.File // what it prints
	exited chan struct{}
	err    error // of Wait, valid after exited
}

// startHelper starts fusermount3 in / (so that no path of ours is needed for it), with sock, if not nil, as its
// communication socket. Its output goes into a file and not into a pipe: a watcher of auto_unmount lives on.
func startHelper(path string, sock *os.File, args ...string) (*helperRun, error) {
	out, err := sys.Memfd("fusermount3-output")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = "fusermount3" // with which its messages begin
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = withoutCommFd(os.Environ())
	if sock != nil {
		cmd.ExtraFiles = []*os.File{sock}
		cmd.Env = append(cmd.Env, "_FUSE_COMMFD=3")
	}
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, err
	}
	c := &helperRun{cmd: cmd, out: out, exited: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

func withoutCommFd(env []string) []string {
	var clean []string
	for _, e := range env {
		if !strings.HasPrefix(e, "_FUSE_COMMFD") {
			clean = append(clean, e)
		}
	}
	return clean
}

// wait returns when the helper has exited, nil for status 0. When ctx ends first the helper is killed.
func (c *helperRun) wait(ctx context.Context) error {
	select {
	case <-c.exited:
	case <-ctx.Done():
		c.cmd.Process.Kill()
		return context.Cause(ctx)
	}
	if c.err != nil {
		return c.failure()
	}
	return nil
}

// output is what the helper has printed so far, on one line.
func (c *helperRun) output() string {
	buf := make([]byte, 8192)
	n, err := c.out.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return ""
	}
	var lines []string
	for line := range strings.Lines(string(buf[:n])) {
		line = strings.TrimSpace(line)
		line = strings.TrimPrefix(line, "fusermount3: ")
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// helperError is what fusermount3 said when it failed.
type helperError struct {
	text  string
	errno syscall.Errno // that its text names, 0: none
}

func (e *helperError) Error() string { return e.text }

func (e *helperError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// failure is the error of a helper that has exited.
func (c *helperRun) failure() error {
	text := c.output()
	e := &helperError{text: text, errno: errnoIn(text)}
	if text == "" {
		e.text = "failed without a message"
		if c.err != nil {
			e.text = c.err.Error()
		}
	}
	return e
}

// errnoIn finds the errno whose text a message of the helper, which never sets a locale, contains.
func errnoIn(text string) syscall.Errno {
	text = strings.ToLower(text)
	for _, e := range []syscall.Errno{
		syscall.EBUSY, syscall.EPERM, syscall.EACCES, syscall.ENOENT, syscall.ENOTDIR, syscall.EINVAL,
		syscall.ENODEV, syscall.ENOTCONN, syscall.ENOMEM, syscall.ENOSPC, syscall.ELOOP,
	} {
		if strings.Contains(text, e.Error()) || e == syscall.ENOTCONN && strings.Contains(text, "endpoint is not connected") {
			return e
		}
	}
	switch {
	case strings.Contains(text, "only allowed if 'user_allow_other' is set"):
		return syscall.EPERM
	case strings.Contains(text, "no write access to mountpoint"):
		return syscall.EACCES
	case strings.Contains(text, "unknown option"):
		return syscall.EINVAL
	}
	return 0
}

// byHelper mounts through fusermount3.
func (a *attempt) byHelper(ctx context.Context) (*mount, error) {
	h := a.helper
	wantSync := !a.o.Async && !a.async && a.hooks.ServeInit != nil
	var err error
	switch {
	case h.path != "":
	case wantSync:
		h, err = findHelper(ctx)
	default:
		h.path, err = helperPath()
	}
	if err != nil {
		return nil, err
	}
	if wantSync && h.atLeast(3, 19) {
		m, err := a.helperMount(ctx, h, true)
		var none *noDescriptor
		if !errors.As(err, &none) {
			return m, err
		}
		a.log.Info("fuse: fusermount3 --sync-init", "err", err)
	}
	return a.helperMount(ctx, h, false)
}

// noDescriptor is the failure of a helper that has not sent a descriptor: it has mounted nothing.
type noDescriptor struct{ err error }

func (e *noDescriptor) Error() string { return e.err.Error() }
func (e *noDescriptor) Unwrap() error { return e.err }

// helperMount has fusermount3 mount and send the device. With syncInit the device comes first, and the mount happens
// while the server answers FUSE_INIT on it.
func (a *attempt) helperMount(ctx context.Context, h helper, syncInit bool) (*mount, error) {
	var args []string
	if syncInit {
		args = append(args, "--sync-init")
	}
	if opts := a.o.helperOptions(); opts != "" {
		args = append(args, "-o", opts)
	}
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return nil, err
	}
	c, err := startHelper(h.path, theirs, append(args, "--", a.dir)...)
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, err
	}
	m, err := a.talk(ctx, c, ours, syncInit)
	if err != nil {
		// The helper undoes its mount when it finds nobody to send the device to; a killed one could not.
		sys.Shutdown(ours)
		ours.Close()
		t := time.AfterFunc(cleanupTime/2, func() { c.cmd.Process.Kill() })
		<-c.exited
		t.Stop()
		c.out.Close()
		return nil, err
	}
	if a.o.AutoUnmount {
		m.watch = append(m.watch, ours)
		if uid, _ := sys.CurrentIDs(); uid != 0 && !h.atLeast(3, 15) {
			if err := m.watchByShell(h); err != nil {
				c.out.Close()
				m.undo(ctx)
				return nil, err
			}
		}
	} else {
		ours.Close()
	}
	if text := c.output(); text != "" {
		a.log.Warn("fuse: fusermount3: "+text, "dir", a.dir)
	}
	c.out.Close()
	return m, nil
}

// talk is our side of the conversation with fusermount3 that ends with a served or servable mount.
func (a *attempt) talk(ctx context.Context, c *helperRun, sock *os.File, syncInit bool) (m *mount, err error) {
	stop := context.AfterFunc(ctx, func() { sys.Shutdown(sock) })
	defer stop()

	_, dev, err := sys.RecvFile(sock, make([]byte, 1))
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, io.EOF) {
			if err = c.wait(ctx); err == nil {
				err = errors.New("fusermount3 ended without sending the device")
			}
		}
		return nil, &noDescriptor{err}
	}
	m = a.newMount(dev)
	if syncInit {
		if err := a.talkSync(ctx, c, sock, m); err != nil {
			if _, attached := sys.DeviceConn(m.dev); !attached {
				m.close()
			} else if m, e := a.identified(m); e == nil {
				m.undo(ctx) // the mount was made before the server failed
			}
			return nil, err
		}
	}
	if m, err = a.identified(m); err != nil {
		return nil, err
	}
	if !a.o.AutoUnmount {
		err = c.wait(ctx)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		m.undo(ctx)
		return nil, err
	}
	return m, nil
}

// talkSync lets a helper that has sent an unmounted device go on to mount it.
func (a *attempt) talkSync(ctx context.Context, c *helperRun, sock *os.File, m *mount) error {
	serve, err := a.syncInit(m.dev)
	if err != nil {
		return err
	}
	proceed := func(func() error) error {
		if _, err := sock.Write([]byte{0}); err != nil {
			return err
		}
		var status [4]byte
		if _, err := io.ReadFull(sock, status[:]); err != nil {
			if e := c.wait(ctx); e != nil {
				return e
			}
			return fmt.Errorf("fusermount3 did not tell the outcome: %w", err)
		}
		return mountStatus(status)
	}
	if serve == nil {
		return proceed(nil)
	}
	err = serveDuring(ctx, m.dev, serve, proceed)
	m.sync = err == nil
	return err
}

// mountStatus reads the outcome that a helper with --sync-init reports: 0 or a negated errno in host order.
func mountStatus(p [4]byte) error {
	switch n := int32(binary.NativeEndian.Uint32(p[:])); {
	case n == 0:
		return nil
	case n < 0 && n > -4096:
		return fmt.Errorf("mount: %w", syscall.Errno(-n))
	default:
		return fmt.Errorf("fusermount3 reports the impossible status %d", n)
	}
}

// watchBy has a helper from 3.15 on watch a direct mount: it unmounts when our end of the socket is closed, which the
// end of this process does too, if the mount is dead by then.
func (m *mount) watchBy(h helper) error {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return err
	}
	c, err := startHelper(h.path, theirs, "--auto-unmount", "--", m.point)
	theirs.Close()
	if err != nil {
		ours.Close()
		return fmt.Errorf("auto_unmount: %w", err)
	}
	c.out.Close()
	m.watch = append(m.watch, ours)
	return nil
}

// watchScript waits for the end of its input and then unmounts a mount if that is still there: $1 is its number and
// device in mountinfo, $2 fusermount3, $3 the mount point.
const watchScript = `trap '' HUP INT QUIT TERM
read -r _
while read -r id _ dev _; do
	[ "$id $dev" = "$1" ] && exec "$2" -u -q -z -- "$3"
done < /proc/self/mountinfo`

// watchByShell does what a helper before 3.15 leaves undone for users: it looks at the dead mount as root, is refused,
// and takes it for alive.
func (m *mount) watchByShell(h helper) error {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command("/bin/sh", "-c", watchScript, "fuse-auto-unmount",
		fmt.Sprintf("%d %d:%d", m.id.ID, m.id.Major, m.id.Minor), h.path, m.point)
	cmd.Dir = "/"
	cmd.Stdin = theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return fmt.Errorf("auto_unmount: %w", err)
	}
	go cmd.Wait()
	m.watch = append(m.watch, ours)
	return nil
}

// helperUnmount unmounts what lies on top of path through fusermount3.
func helperUnmount(ctx context.Context, path string, lazy bool) error {
	prog, err := helperPath()
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	c, err := startHelper(prog, nil, append(args, "--", path)...)
	if err != nil {
		return err
	}
	defer c.out.Close()
	return c.wait(ctx)
}
