//go:build linux

package lowlevel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/notify"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/uring"
	"github.com/purefuse/purefuse/wire"
)

// Config is what a session can be told; the zero value is usable.
type Config struct {
	Logger      *slog.Logger         // nil: slog.Default()
	Debug       bool                 // log every message in libfuse's form, at LevelTrace
	Mount       session.MountOptions // AllowRoot is kept by this package: requests of others than the owner and root get EACCES
	Workers     int                  // most requests handled at once, libfuse's max_threads; 0: 10, 1: libfuse's -s
	MaxIdle     int                  // libfuse's max_idle_threads; 0: a few, -1: any number
	CloneFD     bool                 // each worker reads a device descriptor of its own
	MaxInflight int64                // bytes of request memory, 0: no bound
	Transport   TransportKind        // the device, or io_uring where it works
	RingDepth   int                  // requests in hand at once of each CPU with TransportIOURing, libfuse's io_uring_q_depth; 0: 8. Each has memory of its own
	Interrupts  InterruptMode
	Grace       time.Duration                // for InterruptGrace, 0: 100 ms
	Strict      bool                         // for tests: an operation that returns without a reply and without Req.Async fails with EIO
	OnPanic     func(RequestInfo, any) Errno // what a panic in an operation is answered with; nil: it is logged, and EIO
}

// LevelTrace is the level of the messages that Config.Debug asks for.
const LevelTrace = slog.LevelDebug - 4

// TransportKind is how requests come from the kernel.
type TransportKind int

const (
	TransportAuto    TransportKind = iota // as the library thinks best, which is the device
	TransportDevice                       // /dev/fuse
	TransportIOURing                      // io_uring, or the device if the kernel does not offer it or it cannot be set up, which is logged; CapOverIOUring tells
)

// RequestInfo describes a request in flight.
type RequestInfo struct {
	Op          Op
	Unique      uint64
	NodeID      NodeID
	PID         uint32
	Age         time.Duration
	Interrupted bool
}

// phases of the protocol.
const (
	phaseInit      = iota // INIT has not come
	phaseReady            // it was answered
	phaseDestroyed        // DESTROY came
)

// Session is one mount of a file system. Its life is that of session.Session, whose methods it has.
type Session struct {
	*session.Session
	ops   *Operations
	cfg   Config
	log   *slog.Logger
	debug bool
	owner uint32
	epoch time.Time

	base   context.Context // parent of all requests' contexts
	cancel context.CancelCauseFunc

	conn      atomic.Pointer[Conn]
	phase     atomic.Int32
	inited    atomic.Bool // Init was answered, Destroy is due
	destroyed sync.Once
	intr      interrupts
	notifier  *notify.Notifier
	ring      atomic.Pointer[uring.Transport] // nil: not asked for, or no device

	uringOffered bool // by the kernel, in INIT

	regMu sync.Mutex
	reg   []*Request // copied on write
	regP  atomic.Pointer[[]*Request]
	dummy Request // stands for the elements of a batch of forgets
}

// New makes a session of a file system. ops is copied; cfg may be nil.
func New(ops *Operations, cfg *Config) (*Session, error) {
	if ops == nil {
		return nil, errors.New("fuse: no operations")
	}
	o := *ops
	s := &Session{ops: &o, owner: uint32(os.Getuid()), epoch: time.Now()}
	if cfg != nil {
		s.cfg = *cfg
	}
	s.debug = s.cfg.Debug
	s.log = s.cfg.Logger
	if s.log == nil {
		s.log = slog.Default()
	}
	s.base, s.cancel = context.WithCancelCause(context.Background())
	s.dummy.s, s.dummy.h = s, &wire.InHeader{Opcode: uint32(wire.OpForget)}
	s.conn.Store(&Conn{})
	mount := s.cfg.Mount
	if mount.AllowRoot {
		mount.AllowOther = true
	}
	scfg := session.Config{
		Logger: s.log, Mount: mount, Workers: s.cfg.Workers, MaxIdle: s.cfg.MaxIdle, CloneFD: s.cfg.CloneFD, MaxInflight: s.cfg.MaxInflight,
	}
	if s.cfg.Transport == TransportIOURing {
		scfg.Wrap = func(device session.Transport) session.Transport {
			return uring.New(device, &uring.Config{Logger: s.log, Depth: s.cfg.RingDepth})
		}
	}
	inner, err := session.New((*dispatcher)(s), &scfg)
	if err != nil {
		return nil, err
	}
	s.Session = inner
	s.newNotifier()
	return s, nil
}

// Conn is what was negotiated; zero before FUSE_INIT was answered.
func (s *Session) Conn() Conn { return *s.conn.Load() }

func (s *Session) minor() uint32 { return s.conn.Load().Minor }

// Close ends the session, see session.Session.Close, and calls Operations.Destroy if that is due.
func (s *Session) Close() error {
	s.endNotifications()
	err := s.Session.Close()
	s.cancel(session.ErrStopped)
	s.destroy()
	return err
}

func (s *Session) destroy() {
	if !s.inited.Load() {
		return
	}
	s.destroyed.Do(func() {
		if s.ops.Destroy != nil {
			s.ops.Destroy()
		}
	})
}

// InFlight lists the requests that have no reply yet.
func (s *Session) InFlight() iter.Seq[RequestInfo] {
	return func(yield func(RequestInfo) bool) {
		now := int64(time.Since(s.epoch))
		for _, p := range s.requests() {
			if !p.pin(0) {
				continue
			}
			info := p.info(now)
			p.unpin()
			if info.Op != wire.OpInterrupt && !yield(info) {
				return
			}
		}
	}
}

func (p *Request) info(now int64) RequestInfo {
	return RequestInfo{
		Op: p.code, Unique: p.h.Unique, NodeID: NodeID(p.h.NodeID), PID: p.h.PID,
		Age: time.Duration(max(now-p.since, 0)), Interrupted: p.interrupted.Load(),
	}
}

// requests is all memory for requests that there is, in flight or not.
func (s *Session) requests() []*Request {
	if l := s.regP.Load(); l != nil {
		return *l
	}
	return nil
}

// adopt makes the Request that stays with f.
func (s *Session) adopt(f *session.Frame) *Request {
	p := &Request{}
	f.Owner = p
	s.regMu.Lock()
	defer s.regMu.Unlock()
	if len(s.reg) == cap(s.reg) {
		s.reg = slices.Grow(s.reg, max(16, len(s.reg)))
	}
	s.reg = append(s.reg, p)
	list := s.reg
	s.regP.Store(&list)
	return p
}

// OpenBacking registers an open regular file with the kernel for passthrough and returns its id. The descriptor may be
// closed afterwards. It needs CapPassthrough and CAP_SYS_ADMIN (EPERM), and a file system that is not stacked too deep (ELOOP).
func (s *Session) OpenBacking(fd int) (BackingID, error) {
	id, err := s.addBacking(fd, wire.BackingTypePassthrough)
	return BackingID(id), err
}

func (s *Session) addBacking(fd int, flags uint32) (int, error) {
	arg := wire.BackingMap{FD: int32(fd), Flags: flags}
	id, err := sys.IoctlPtr(s.Device(), wire.DevIocBackingOpen, &arg)
	if err != nil {
		return 0, os.NewSyscallError("ioctl FUSE_DEV_IOC_BACKING_OPEN", err)
	}
	return int(id), nil
}

// CloseBacking gives up a backing id; files that are open with it keep it.
func (s *Session) CloseBacking(id BackingID) error {
	arg := uint32(id)
	_, err := sys.IoctlPtr(s.Device(), wire.DevIocBackingClose, &arg)
	return os.NewSyscallError("ioctl FUSE_DEV_IOC_BACKING_CLOSE", err)
}

// replyFailed logs a reply that the kernel refused.
func (s *Session) replyFailed(err error) {
	if s.Session.Exited() || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.ENODEV) {
		return
	}
	s.log.Error("fuse: writing device", "err", err)
}

func (s *Session) trace(format string, args ...any) {
	s.log.Log(context.Background(), LevelTrace, fmt.Sprintf(format, args...))
}

// traceReply prints a reply as libfuse does.
func (s *Session) traceReply(p *Request, errno Errno, size int) {
	if errno != 0 {
		s.trace("   unique: %d, error: -%d (%s), outsize: %d", p.h.Unique, int(errno), errnoText(errno), size)
		return
	}
	s.trace("   unique: %d, success, outsize: %d", p.h.Unique, size)
}
