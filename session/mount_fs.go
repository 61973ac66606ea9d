//go:build linux

package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// newAPI mounts by fsopen(2), fsconfig(2), fsmount(2) and move_mount(2).
func (a *attempt) newAPI(ctx context.Context) (*mount, error) {
	dev, err := a.openDevice()
	if err != nil {
		return nil, err
	}
	m := a.newMount(dev)
	serve, err := a.syncInit(dev)
	if err == nil {
		err = a.configure(ctx, m, serve)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// syncInit asks for synchronous FUSE_INIT on a fresh device, and returns the server for it, nil when there is none.
func (a *attempt) syncInit(dev *os.File) (serve serveFunc, err error) {
	if a.o.Async || a.async || a.hooks.ServeInit == nil {
		return nil, nil
	}
	switch err := sys.SyncInit(dev); err {
	case nil:
		return a.hooks.ServeInit, nil
	case syscall.ENOTTY:
		a.async = true
		return nil, nil
	default:
		return nil, fmt.Errorf("FUSE_DEV_IOC_SYNC_INIT: %w", err)
	}
}

// configure makes the superblock and attaches it; on an error nothing stays behind but the device.
func (a *attempt) configure(ctx context.Context, m *mount, serve serveFunc) error {
	base, full := a.o.fsType()
	fsfd, err := sys.Fsopen(base)
	if err != nil {
		if err == syscall.ENODEV {
			return fmt.Errorf("the kernel does not know the type %s: %w", base, err)
		}
		return fmt.Errorf("fsopen: %w", err)
	}
	defer fsfd.Close()

	subtypes := true
	if full != base {
		switch err := sys.FsconfigString(fsfd, "subtype", a.o.Subtype); err {
		case nil:
		case sys.ENOPARAM, syscall.EINVAL, syscall.EOPNOTSUPP:
			sys.FsLog(fsfd)
			subtypes = false
		default:
			return a.explain(fsfd, "subtype", err)
		}
	}
	if err := sys.FsconfigString(fsfd, "source", a.o.source(m.dev.Name(), subtypes)); err != nil {
		return a.explain(fsfd, "source", err)
	}
	attrs, flags := a.o.attrs()
	for _, f := range flags {
		if err := sys.FsconfigFlag(fsfd, f); err != nil {
			return a.explain(fsfd, f, err)
		}
	}
	uid, gid := sys.CurrentIDs()
	for _, k := range a.o.kernelOptions(m.dev.Fd(), a.typ, uid, gid) {
		if k.flag {
			err = sys.FsconfigFlag(fsfd, k.key)
		} else {
			err = sys.FsconfigString(fsfd, k.key, k.value)
		}
		if err != nil {
			return a.explain(fsfd, k.key, err)
		}
	}

	attach := func(failed func() error) error {
		if err := sys.FsconfigCreate(fsfd); err != nil {
			return a.explain(fsfd, "create", err)
		}
		a.explain(fsfd, "create", nil)
		if err := failed(); err != nil {
			return err
		}
		mnt, err := sys.Fsmount(fsfd, attrs)
		if err != nil {
			return a.explain(fsfd, "fsmount", err)
		}
		defer mnt.Close()
		if m.id, err = sys.IdentifyMount(mnt); err != nil {
			return err
		}
		m.conn = m.id.Conn()
		if err := sys.MoveMount(mnt, a.dir); err != nil {
			return fmt.Errorf("move_mount: %w", err)
		}
		return nil
	}
	if serve == nil {
		return attach(func() error { return nil })
	}
	err = serveDuring(ctx, m.dev, serve, attach)
	if err != nil && m.id.ID != 0 {
		if e := m.unmountNow(context.WithoutCancel(ctx), UnmountLazy); e != nil {
			a.log.Warn("fuse: clean-up after a failed mount", "dir", m.point, "err", e)
		}
	}
	m.sync = err == nil
	return err
}

// explain puts the kernel's own words on a configuration step into its error, and logs those that are no errors.
func (a *attempt) explain(fsfd *os.File, step string, err error) error {
	var words []string
	for _, l := range sys.FsLog(fsfd) {
		kind, text, _ := strings.Cut(l, " ")
		switch {
		case kind == "e" && err != nil:
			words = append(words, text)
		case kind == "i":
			a.log.Info("fuse: kernel: "+text, "dir", a.dir)
		default:
			a.log.Warn("fuse: kernel: "+text, "dir", a.dir)
		}
	}
	if err == nil {
		return nil
	}
	if len(words) == 0 {
		return fmt.Errorf("%s: %w", step, err)
	}
	return fmt.Errorf("%s: %w (%s)", step, err, strings.Join(words, ", "))
}

type serveFunc = func(dev *os.File, stop <-chan struct{}) error

// serveDuring runs mount, which does not return before the kernel has the answer to FUSE_INIT, while serve answers it.
// failed, which mount may ask in between, tells how the server ended if it already has. However serve behaves and
// whenever ctx ends, no request is left unanswered so that mount returns.
func serveDuring(ctx context.Context, dev *os.File, serve serveFunc, mount func(failed func() error) error) error {
	over, err := sys.NewEvent() // mount has returned
	if err != nil {
		return err
	}
	defer over.Close()
	s := &initServer{dev: dev, stop: make(chan struct{}), done: make(chan struct{}), waiting: make(chan struct{})}
	go s.run(serve)
	<-s.waiting

	returned := make(chan struct{})
	rescued := make(chan struct{})
	go func() {
		defer close(rescued)
		select {
		case <-returned:
			return
		case <-s.done:
		case <-ctx.Done():
			s.cancel()
			select {
			case <-returned:
				return
			case <-s.done:
			}
		}
		s.rescue(over)
	}()
	runtime.LockOSThread()
	s.mounter.Store(int64(sys.Thread()))
	mountErr := mount(func() error {
		select {
		case <-s.done:
			return s.failure()
		default:
			return nil
		}
	})
	runtime.UnlockOSThread()
	over.Signal()
	close(returned)
	<-rescued
	s.end()
	switch {
	case s.failure() != nil:
		return &initError{s.failure()}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case mountErr != nil && s.served:
		return &initError{mountErr}
	}
	return mountErr
}

// initServer is the goroutine that serves FUSE_INIT.
type initServer struct {
	dev       *os.File
	stop      chan struct{}
	stopOnce  sync.Once
	cancelled atomic.Bool   // serve is not to begin
	stopped   atomic.Bool   // mount has returned
	mounter   atomic.Int64  // thread that mounts
	waiting   chan struct{} // closed when tid is valid
	tid       int
	inPoll    atomic.Bool
	done      chan struct{} // closed at the end; served and err are valid then
	served    bool
	err       error
}

// run waits until the device is attached and has a request, and then hands it to serve. On a device with synchronous
// INIT even poll(2) sleeps in the kernel until a superblock is attached, or a signal comes, which shows as POLLERR.
func (s *initServer) run(serve serveFunc) {
	defer close(s.done)
	runtime.LockOSThread()
	s.tid = sys.Thread()
	s.inPoll.Store(true)
	close(s.waiting)
	for {
		ev, err := sys.Poll(-1, sys.PollFd{Fd: s.dev.Fd(), Events: sys.POLLIN})
		if s.stopped.Load() {
			runtime.UnlockOSThread()
			return
		}
		if err == nil && ev[0]&sys.POLLIN != 0 {
			break
		}
		if _, attached := sys.DeviceConn(s.dev); attached && err == nil {
			break // and already lost: the server finds out by reading
		}
	}
	s.inPoll.Store(false)
	runtime.UnlockOSThread()
	if s.cancelled.Load() {
		return
	}
	s.served = true
	s.err = serve(s.dev, s.stop)
}

// cancel asks the server to leave, or not to begin.
func (s *initServer) cancel() {
	s.cancelled.Store(true)
	s.stopOnce.Do(func() { close(s.stop) })
}

// end stops the server and waits for it; the mount call has returned.
func (s *initServer) end() {
	s.stopped.Store(true)
	s.stopOnce.Do(func() { close(s.stop) })
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if s.inPoll.Load() {
			sys.Nudge(s.tid) // may come just before poll: hence again
		}
		t := time.NewTimer(wait)
		select {
		case <-s.done:
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// failure is why the server ended; to be called after done.
func (s *initServer) failure() error { return s.err }

// rescue ends a mount call whose server has gone: by aborting the connection, or, where that is not allowed, by refusing
// what comes. A FUSE_INIT that was read and not answered shows when its waiting thread is interrupted.
func (s *initServer) rescue(over sys.Event) {
	if conn, ok := sys.DeviceConn(s.dev); ok {
		if abortConn(conn) == nil {
			return
		}
	}
	buf := make([]byte, 8192) // the kernel's least; nothing larger comes before FUSE_INIT
	for wait := 1; ; wait = min(2*wait, 100) {
		sys.Nudge(int(s.mounter.Load()))
		ev, err := sys.Poll(wait, sys.PollFd{Fd: s.dev.Fd(), Events: sys.POLLIN}, sys.PollFd{Fd: uintptr(over), Events: sys.POLLIN})
		switch {
		case err == syscall.EINTR || err == nil && ev[0] == 0 && ev[1] == 0:
			continue
		case err != nil || ev[1] != 0 || ev[0]&sys.POLLIN == 0:
			return
		}
		n, err := s.dev.Read(buf)
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return
		}
		if r := refusal(buf[:n]); r != nil {
			s.dev.Write(r) // ENOENT: it was answered at last
		}
	}
}

// refusal answers a request with EIO, and in place of an interrupt the request that it is about; nil for one that wants
// no answer.
func refusal(req []byte) []byte {
	if len(req) < 40 {
		return nil
	}
	unique := req[8:16]
	switch wire.Opcode(binary.NativeEndian.Uint32(req[4:])) {
	case wire.OpForget, wire.OpBatchForget, wire.OpNotifyReply:
		return nil
	case wire.OpInterrupt:
		if len(req) < 48 {
			return nil
		}
		unique = req[40:48]
	}
	r := binary.NativeEndian.AppendUint32(nil, 16)
	eio := -int32(syscall.EIO)
	r = binary.NativeEndian.AppendUint32(r, uint32(eio))
	return append(r, unique...)
}
