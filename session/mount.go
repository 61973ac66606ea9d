//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
)

// mount is one mount as this process made it: what is needed to serve it, to recognise it later and to end it.
type mount struct {
	dev   *os.File    // the connection; blocking, never in the runtime's poller
	point string      // absolute mount point as asked for, or /dev/fd/N
	how   string      // the way that worked, one of the way constants
	id    sys.MountID // zero when somebody else mounted (/dev/fd/N)
	conn  uint32      // number in fusectl, 0: unknown
	sync  bool        // FUSE_INIT was answered inside the mount call
	log   *slog.Logger

	mu     sync.Mutex
	watch  []*os.File // sockets whose end tells watchers to unmount, none without auto_unmount
	closed bool
}

// The ways to mount, in the order in which they are tried.
const (
	wayFd     = "/dev/fd"
	wayNew    = "fsmount"
	wayMount  = "mount"
	wayHelper = "fusermount3"
)

// mountHooks is what mountDir needs from the session.
type mountHooks struct {
	// ServeInit serves the open, attached device while the mount call waits for FUSE_INIT. It must answer every
	// request it reads until stop is closed, and returns INIT's error, which fails the mount. It runs on its own
	// goroutine and at most once for a mountDir. nil: FUSE_INIT comes after the mount call on every kernel.
	ServeInit func(dev *os.File, stop <-chan struct{}) error
	Logger    *slog.Logger // nil is silent
}

// MountError tells of a mount that failed: each way that was tried and why it did not work.
type MountError struct {
	Dir   string
	Tries []MountTry
}

// MountTry is one way to mount and why it did not work. Way is empty for what is wrong before any way can be tried.
type MountTry struct {
	Way string
	Err error
}

// Error is one line.
func (e *MountError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fuse: failed to mount on %s", e.Dir)
	for i, t := range e.Tries {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		if t.Way != "" {
			b.WriteString(t.Way + ": ")
		}
		b.WriteString(strings.TrimPrefix(t.Err.Error(), "fuse: "))
	}
	return b.String()
}

// Unwrap gives every try's error to errors.Is, which so finds the syscall.Errno.
func (e *MountError) Unwrap() []error {
	errs := make([]error, len(e.Tries))
	for i, t := range e.Tries {
		errs[i] = t.Err
	}
	return errs
}

func (e *MountError) add(way string, err error) { e.Tries = append(e.Tries, MountTry{way, err}) }

// cleanupTime bounds how long a cancelled mount is waited for before its clean-up is left to the background.
const cleanupTime = 2 * time.Second

// mountDir mounts a FUSE connection on dir, a directory or regular file, by the first way that works: a descriptor that
// is already mounted (/dev/fd/N), fsopen(2) to move_mount(2), mount(2), and fusermount3, which is asked only where the
// process lacks the right to mount. The error is a *MountError. When ctx ends first nothing stays mounted.
func mountDir(ctx context.Context, dir string, o *MountOptions, hooks mountHooks) (*mount, error) {
	log := hooks.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	fail := func(err error) (*mount, error) {
		return nil, &MountError{Dir: dir, Tries: []MountTry{{Err: err}}}
	}
	if o == nil {
		o = new(MountOptions)
	}
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	if dir == "" {
		return fail(fmt.Errorf("missing mountpoint: %w", syscall.ENOENT))
	}
	if m, ok, err := attachFd(dir); ok {
		if err != nil {
			return fail(err)
		}
		m.log = log
		return m, nil
	}
	flat, err := o.flat()
	if err != nil {
		return fail(err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fail(err)
	}
	a := &attempt{dir: abs, o: flat, hooks: hooks, log: log, e: &MountError{Dir: dir}}
	m, err := within(ctx, a.run, func(m *mount) { m.undo(ctx) })
	if _, ok := errors.AsType[*MountError](err); err != nil && !ok {
		return fail(err)
	}
	return m, err
}

// within runs f and returns its result, or ctx's error if that ends first and f does not follow within cleanupTime.
// late gets a result that nobody waited for.
func within[T any](ctx context.Context, f func(context.Context) (T, error), late func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	var zero T
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
	}
	finish := func(r result) {
		if r.err == nil {
			late(r.v)
		}
	}
	t := time.NewTimer(cleanupTime)
	defer t.Stop()
	select {
	case r := <-done:
		finish(r)
	case <-t.C:
		go func() { finish(<-done) }()
	}
	return zero, context.Cause(ctx)
}

// attempt is one mountDir at work.
type attempt struct {
	dir    string // absolute
	o      *MountOptions
	hooks  mountHooks
	log    *slog.Logger
	e      *MountError
	typ    uint32 // file type of dir
	async  bool   // this kernel has no synchronous FUSE_INIT
	helper helper // if it had to be looked at
}

// initError is a failure after the server has seen FUSE_INIT: the session is spent, no other way may be tried.
type initError struct{ err error }

func (e *initError) Error() string { return "FUSE_INIT failed: " + e.err.Error() }
func (e *initError) Unwrap() error { return e.err }

func (a *attempt) run(ctx context.Context) (*mount, error) {
	var err error
	if a.typ, err = sys.TypeOf(a.dir); err != nil {
		a.e.add("", fmt.Errorf("failed to access mountpoint: %w", err))
		return nil, a.e
	}
	if a.typ != sys.S_IFDIR && a.typ != sys.S_IFREG {
		a.e.add("", fmt.Errorf("mountpoint is neither a directory nor a regular file: %w", syscall.ENOTDIR))
		return nil, a.e
	}
	direct := a.o.Helper != HelperAlways
	if a.o.AutoUnmount {
		// Before 3.15 fusermount3 watches only what it has mounted itself.
		if a.helper, err = findHelper(ctx); err != nil {
			a.e.add("auto_unmount", err)
			return nil, a.e
		}
		direct = direct && a.helper.atLeast(3, 15)
	}
	if direct {
		for _, way := range []struct {
			name  string
			mount func(context.Context) (*mount, error)
		}{{wayNew, a.newAPI}, {wayMount, a.legacy}} {
			m, err := way.mount(ctx)
			if err == nil && a.o.AutoUnmount {
				if err = m.watchBy(a.helper); err != nil {
					m.undo(ctx)
				}
			}
			if err == nil {
				m.how = way.name
				return m, nil
			}
			a.e.add(way.name, err)
			if _, spent := errors.AsType[*initError](err); spent || ctx.Err() != nil || errors.Is(err, errNoDevice) {
				return nil, a.e
			}
		}
		refused := errors.Is(a.e, fs.ErrPermission)
		if a.o.Helper == HelperNever || !refused {
			return nil, a.e
		}
	}
	m, err := a.byHelper(ctx)
	if err != nil {
		a.e.add(wayHelper, err)
		return nil, a.e
	}
	m.how = wayHelper
	return m, nil
}

// newMount is a mount that was just made and is not yet identified.
func (a *attempt) newMount(dev *os.File) *mount {
	return &mount{dev: dev, point: a.dir, log: a.log}
}

// undo takes back a mount that succeeded before something else failed.
func (m *mount) undo(ctx context.Context) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := m.unmountNow(clean, UnmountLazy); err != nil {
		m.log.Warn("fuse: clean-up of a mount that failed", "dir", m.point, "err", err)
	}
	m.close()
}

// errNoDevice is a FUSE device that does not exist, which no way of mounting can mend.
var errNoDevice = errors.New("device not found")

// openDevice opens a fresh connection.
func (a *attempt) openDevice() (*os.File, error) {
	path := a.o.devicePath()
	dev, err := sys.OpenDevice(path)
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case 0:
		return dev, err
	case syscall.ENOENT, syscall.ENODEV, syscall.ENXIO:
		return nil, fmt.Errorf("%w: %s: %w (kernel module not loaded?)", errNoDevice, path, errno)
	}
	return nil, fmt.Errorf("failed to open %s: %w", path, errno)
}

// devicePath is the device to open. As in libfuse $FUSE_KERN_DEVICE counts only below /dev/, and not if something else
// than a character device has that name.
func (o *MountOptions) devicePath() string {
	if o.Device != "" {
		return o.Device
	}
	const def = "/dev/fuse"
	path := os.Getenv("FUSE_KERN_DEVICE")
	if !strings.HasPrefix(path, "/dev/") {
		return def
	}
	if typ, err := sys.TypeOf(path); err == nil && typ != sys.S_IFCHR {
		return def
	}
	return path
}

// legacy mounts by mount(2).
func (a *attempt) legacy(context.Context) (*mount, error) {
	dev, err := a.openDevice()
	if err != nil {
		return nil, err
	}
	uid, gid := sys.CurrentIDs()
	data := mountData(a.o.kernelOptions(dev.Fd(), a.typ, uid, gid))
	if len(data) >= os.Getpagesize() {
		dev.Close()
		return nil, fmt.Errorf("mount options too long: %w", syscall.E2BIG)
	}
	base, full := a.o.fsType()
	err = sys.Mount(a.o.source(dev.Name(), true), a.dir, full, a.o.msFlags(), data)
	if err == syscall.ENODEV && full != base {
		err = sys.Mount(a.o.source(dev.Name(), false), a.dir, base, a.o.msFlags(), data)
	}
	if err != nil {
		dev.Close()
		if err == syscall.ENODEV {
			err = fmt.Errorf("the kernel does not know the type %s: %w", base, err)
		}
		return nil, err
	}
	m := a.newMount(dev)
	return a.identified(m)
}

// identified records which mount m is by looking at the mount point from outside.
func (a *attempt) identified(m *mount) (*mount, error) {
	id, err := topMount(a.dir)
	conn, known := sys.DeviceConn(m.dev)
	if err != nil || known && id.Conn() != conn {
		// Somebody mounted over it at once, or it is not to be seen from here.
		in, e := findConn(conn)
		if in == nil && e == nil && known && m.down() {
			m.conn = conn // somebody has unmounted it already, as Serve will find
			return m, nil
		}
		if !known || e != nil || in == nil {
			m.close() // which leaves a dead mount that cannot be told from others
			return nil, fmt.Errorf("mounted, but the mount is not to be found at %s: %w", a.dir, errors.Join(err, e, syscall.ESTALE))
		}
		id = mountIDOf(in)
	}
	m.id, m.conn = id, id.Conn()
	return m, nil
}

// topMount identifies the mount that a path leads to.
func topMount(path string) (sys.MountID, error) {
	f, err := sys.OpenPath(path, false)
	if err != nil {
		return sys.MountID{}, err
	}
	defer f.Close()
	return sys.IdentifyMount(f)
}

// attachFd takes over the connection of a mount point /dev/fd/N, which the starter of this process has mounted. ok is
// false for any other name. N is plain decimal.
func attachFd(dir string) (m *mount, ok bool, err error) {
	num, ok := strings.CutPrefix(dir, "/dev/fd/")
	if !ok || num == "" || strings.Trim(num, "0123456789") != "" {
		return nil, false, nil
	}
	n, err := strconv.ParseUint(num, 10, 31)
	if err != nil || n > math.MaxInt32 || !sys.IsCharDevice(int(n)) {
		return nil, true, fmt.Errorf("fuse: Invalid file descriptor %s: %w", dir, syscall.EBADF)
	}
	// A program that this one starts has no business with the connection, and readers expect to block.
	if err := errors.Join(sys.SetCloexec(int(n), true), sys.SetBlocking(int(n))); err != nil {
		return nil, true, err
	}
	m = &mount{dev: os.NewFile(uintptr(n), dir), point: dir, how: wayFd}
	m.conn, _ = sys.DeviceConn(m.dev)
	return m, true, nil
}

// close gives up the device and the watch of auto_unmount; a second call does nothing. The kernel aborts the
// connection when its last descriptor is closed. Readers of the device must have ended.
func (m *mount) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	err := m.dev.Close()
	for _, w := range m.watch {
		w.Close() // after the device: watchers unmount what is dead
	}
	return err
}

// down reports whether the connection has ended; false also when the device is already closed here.
func (m *mount) down() bool {
	_, down := m.look()
	return down
}

// look polls the device. Whoever else has it may close it meanwhile.
func (m *mount) look() (open, down bool) {
	c, err := m.dev.SyscallConn()
	if err != nil {
		return false, false
	}
	err = c.Control(func(fd uintptr) {
		ev, err := sys.Poll(0, sys.PollFd{Fd: fd})
		down = err == nil && ev[0]&(sys.POLLERR|sys.POLLNVAL) != 0
	})
	return err == nil, down
}
