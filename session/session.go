//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
)

// state is where a session is in its life. It only moves forward, but for a failed Mount.
type state int

const (
	created  state = iota
	mounting       // Mount is under way
	attached       // there is a transport
	serving        // Serve is under way
	stopped        // Serve has returned
	closed
)

func (s state) String() string {
	return [...]string{"created", "mounting", "attached", "serving", "stopped", "closed"}[s]
}

// StateError is returned by a call that does not fit where the session is in its life.
type StateError struct{ Call, State string }

func (e *StateError) Error() string {
	return fmt.Sprintf("fuse: %s: session is %s", e.Call, e.State)
}

// SignalError is what Serve returns after a signal that HandleSignals was told to handle.
type SignalError struct{ Signal syscall.Signal }

func (e *SignalError) Error() string { return "fuse: ended by " + e.Signal.String() }

// Session is one mount: created, mounted or attached, served, unmounted, closed.
type Session struct {
	h     Handler
	cfg   Config
	epoch time.Time

	exit  atomic.Bool
	ready chan struct{}
	done  chan struct{}

	mu       sync.Mutex
	state    state
	t        Transport
	m        *mount
	answered bool
	err      error
	stopSig  func()
	endMount context.CancelCauseFunc // of the Mount under way
	dogs     []*Watchdog
	closing  sync.Once
	closeErr error

	crew crew
}

// New makes a session that serves h. cfg may be nil.
func New(h Handler, cfg *Config) (*Session, error) {
	s := &Session{h: h, epoch: time.Now(), ready: make(chan struct{}), done: make(chan struct{})}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.cfg.Workers < 0 {
		return nil, fmt.Errorf("fuse: Config.Workers is %d", s.cfg.Workers)
	}
	s.crew.init(s)
	return s, nil
}

// move takes the session from one state to another.
func (s *Session) move(call string, from, to state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != from {
		return &StateError{call, s.state.String()}
	}
	s.state = to
	return nil
}

// Mount mounts on dir by the first way that works: a descriptor that dir names (/dev/fd/N), the new mount API, mount(2),
// fusermount3. The error lists each way and why it failed. Where the kernel has synchronous FUSE_INIT, the handler may be
// called from here on, and Mount returns after the file system's Init; otherwise INIT is answered in Serve.
func (s *Session) Mount(ctx context.Context, dir string) error {
	if err := s.move("Mount", created, mounting); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	s.endMount = cancel
	s.mu.Unlock()
	hooks := mountHooks{Logger: s.cfg.logger()}
	if !s.cfg.Mount.Async {
		hooks.ServeInit = s.serveInit
	}
	m, err := mountDir(ctx, dir, &s.cfg.Mount, hooks)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed { // meanwhile, and Close knew nothing of m
		if s.t != nil {
			s.t.Close()
		}
		if err == nil {
			m.close()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
			defer cancel()
			err = m.unmount(ctx, UnmountLazy)
		}
		return errors.Join(&StateError{"Mount", closed.String()}, err)
	}
	if err != nil {
		if s.t != nil {
			s.t.Close()
			s.t = nil
		}
		s.state, s.answered, s.err = created, false, nil
		return err
	}
	s.m = m
	if s.t == nil || s.t.Device() != int(m.dev.Fd()) {
		if s.t != nil {
			s.t.Close()
		}
		s.t, s.answered = s.device(m.dev), false
		s.h.Begin(s.t)
	}
	s.state = attached
	s.signalReady()
	return nil
}

// serveInit serves one device while its mount call waits for FUSE_INIT.
func (s *Session) serveInit(dev *os.File, stop <-chan struct{}) error {
	t := s.device(dev)
	s.mu.Lock()
	if s.t != nil {
		s.t.Close()
	}
	s.t, s.answered, s.err = t, false, nil
	s.mu.Unlock()
	s.h.Begin(t)

	wake, err := sys.NewEvent()
	if err != nil {
		return err
	}
	var woken sync.WaitGroup
	woken.Go(func() {
		<-stop
		wake.Signal()
	})
	defer func() {
		woken.Wait()
		wake.Close()
	}()
	var frames [1]*Frame
	for {
		readable, stopped, err := sys.WaitRead(t.Device(), int(wake))
		if err != nil {
			<-stop
			return err
		}
		if stopped {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.err
		}
		if !readable {
			continue
		}
		if n, err := t.First().Receive(frames[:]); err != nil {
			<-stop // the mount call is about to fail, too
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.err
		} else if n > 0 {
			s.h.Handle(t.First(), frames[0])
		}
	}
}

// Attach serves a device that somebody else mounted; the session owns f from now on.
func (s *Session) Attach(f *os.File) error { return s.Use(s.device(f)) }

// device is the transport of a mounted device.
func (s *Session) device(f *os.File) Transport {
	t := NewDevice(f, &s.cfg)
	if s.cfg.Wrap != nil {
		return s.cfg.Wrap(t)
	}
	return t
}

// Use serves any transport: a socket, the fake kernel. The session owns it from now on.
func (s *Session) Use(t Transport) error {
	if err := s.move("Use", created, attached); err != nil {
		return err
	}
	s.mu.Lock()
	s.t = t
	s.mu.Unlock()
	s.h.Begin(t)
	return nil
}

// Settle prepares the transport for what FUSE_INIT settled. The handler calls it before it answers INIT.
func (s *Session) Settle(l Limits) error { return s.transport().Start(l) }

// Answered is called by the handler when it has answered FUSE_INIT; err is why the session cannot be served, if it cannot.
func (s *Session) Answered(err error) {
	s.mu.Lock()
	if err != nil {
		s.err = err
		starting := s.state == mounting
		s.mu.Unlock()
		if !starting {
			s.Exit()
		}
		return
	}
	s.answered = true
	s.signalReady()
	served := s.state == serving
	s.mu.Unlock()
	if served {
		s.crew.attendAll()
	}
}

// signalReady closes ready when INIT was answered and the mount is there. The caller holds s.mu.
func (s *Session) signalReady() {
	if s.answered && s.state >= attached {
		select {
		case <-s.ready:
		default:
			close(s.ready)
		}
	}
}

func (s *Session) transport() Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t
}

// Serve handles requests until the file system is unmounted, Exit is called, ctx ends or a handled signal arrives, and
// returns nil, nil, ctx's cause or a *SignalError. Requests that were read by then are answered first.
func (s *Session) Serve(ctx context.Context) error {
	if err := s.move("Serve", attached, serving); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		s.fail(context.Cause(ctx))
		s.Exit()
	})
	defer stop()
	if s.Exited() { // before there was a transport
		s.transport().Stop()
	}
	s.crew.run()
	s.h.End()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == serving {
		s.state = stopped
	}
	if s.stopSig != nil {
		s.stopSig()
	}
	close(s.done)
	return s.err
}

// fail records the first reason why the session ended.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Ready is closed when FUSE_INIT was answered and the mount is visible.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Done is closed when Serve is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Device is the descriptor of the connection, -1 if there is none; for the device's ioctls.
func (s *Session) Device() int {
	if t := s.transport(); t != nil {
		return t.Device()
	}
	return -1
}

// Send writes an unsolicited message, a notification, to the kernel.
func (s *Session) Send(parts ...[]byte) error {
	t := s.transport()
	if t == nil {
		return &StateError{"Send", "not attached"}
	}
	return t.Send(parts...)
}

// Exit makes Serve return when the requests that were read are answered; it does not wait and may be called from a handler.
func (s *Session) Exit() {
	if s.exit.Swap(true) {
		return
	}
	if t := s.transport(); t != nil {
		t.Stop()
	}
	s.crew.stop()
}

// Exited reports whether Exit was called or the connection has ended.
func (s *Session) Exited() bool { return s.exit.Load() }

// HandleSignals makes SIGHUP, SIGINT and SIGTERM end Serve with a *SignalError, and SIGPIPE harmless, until Serve returns.
// A signal that was ignored when the process started stays ignored.
func (s *Session) HandleSignals() {
	stop := handleSignals(func(sig syscall.Signal) {
		s.fail(&SignalError{sig})
		s.Exit()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopSig != nil {
		s.stopSig()
	}
	s.stopSig = stop
}

// StartWatchdog ends a process that outlives its connection: when the connection is lost the session exits, and unless the
// watchdog is stopped within timeout after that, expired is called (nil: the process exits with status 1).
func (s *Session) StartWatchdog(timeout time.Duration, expired func()) (*Watchdog, error) {
	s.mu.Lock()
	m := s.m
	s.mu.Unlock()
	if m == nil {
		return nil, ErrNotMounted
	}
	w, err := startWatchdog(m.dev, timeout, s.Exit, expired)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dogs = append(s.dogs, w)
	return w, nil
}

// Unmount unmounts what Mount mounted, and waits until Serve is over. It never touches another mount: if ours is gone it
// returns nil, if another one covers it ErrNotOurs. A mount that is in use gives EBUSY, unless flags has UnmountLazy, which
// detaches it and does not wait for its last user.
func (s *Session) Unmount(ctx context.Context, flags UnmountFlags) error {
	s.mu.Lock()
	m, st := s.m, s.state
	s.mu.Unlock()
	if m == nil {
		return ErrNotMounted
	}
	if err := m.unmount(ctx, flags); err != nil {
		return err
	}
	if st != serving || flags&UnmountLazy != 0 && !m.down() {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Abort ends the connection through fusectl: every client of the mount gets an error at once.
func (s *Session) Abort() error {
	s.mu.Lock()
	m := s.m
	s.mu.Unlock()
	if m == nil {
		return ErrNotMounted
	}
	return m.abort()
}

// closeWait is how long Close waits for handlers that are under way, and for the unmount.
const closeWait = 5 * time.Second

// Close ends the session whatever it does: Serve returns, the connection is closed, and a mount of ours that is still there
// is detached. It may be called again. A handler that is still running after some seconds is left behind.
func (s *Session) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Session) close() error {
	s.Exit()
	s.mu.Lock()
	was, t, m, dogs, endMount := s.state, s.t, s.m, s.dogs, s.endMount
	s.state = closed
	s.mu.Unlock()
	if was == mounting && endMount != nil {
		endMount(&StateError{"Mount", closed.String()})
	}
	var stuck error
	if was == serving {
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-s.done:
		case <-timer.C:
			stuck = errors.New("fuse: close: a handler is still running")
		}
	}
	for _, w := range dogs {
		w.lost()
	}
	if t != nil {
		if err := t.Close(); err != nil {
			stuck = errors.Join(stuck, err)
		}
	}
	if m != nil {
		// The device is closed before the unmount, which could otherwise wait for an answer from us.
		m.close()
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if err := m.unmount(ctx, UnmountLazy); err != nil && !errors.Is(err, ErrNotMounted) {
			stuck = errors.Join(stuck, err)
		}
	}
	if was < serving {
		close(s.done)
	}
	return stuck
}
