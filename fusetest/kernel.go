//go:build linux

package fusetest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// Options say what kind of kernel a Kernel plays; the zero value is the newest one.
type Options struct {
	Major, Minor uint32         // protocol version of the kernel, 0: 7 and wire.KernelMinor
	Flags        wire.InitFlags // what INIT offers, 0: all that a kernel of that minor does without special set-up
	MaxReadahead uint32         // 0: 128 KiB
	NoInit       bool           // New sends no INIT; the test does, by Init or Raw
	InitSize     int            // length of INIT's argument, 0: what a kernel of that minor sends

	Lenient    bool                      // a message that the kernel refuses does not fail the test
	Unanswered bool                      // requests may be without a reply when the test ends
	Faults     FaultPlan                 // what goes wrong
	OnReply    func([]byte)              // sees every message that the server writes, before the kernel does
	OnNotify   func(*Notification) error // what the kernel says to a notification that is well-formed; nil: nothing, and it goes to Notifications
}

// Kernel plays the kernel to a file system. Its methods may be called from any goroutine. The embedded Client makes requests
// as the process that runs the test.
type Kernel struct {
	*Client
	tb     testing.TB
	o      Options
	s      *lowlevel.Session
	served chan error
	clone  bool

	mu         sync.Mutex
	news       sync.Cond // something to read, or the connection has changed
	first      *device
	open       int // devices that are not closed
	woken      bool
	ended      error // what reads and writes of the device fail with once there is no connection
	unique     uint64
	pending    []*Call // not read yet
	interrupts []*Call
	reads      int // messages that were read and written, for faults
	writes     int

	init        wire.InitOut
	inited      bool
	refused     bool   // INIT failed
	minor       uint32 // the older one of both sides
	flags       wire.InitFlags
	noInterrupt bool
	sticky      map[wire.Opcode]bool // operations that were answered with ENOSYS
	nodes       map[lowlevel.NodeID]*node
	violations  []string
	notes       chan Notification
	log         *guardedWriter
}

// New starts a session of ops and a kernel for it, and has INIT answered. cfg may be nil. Both end with the test.
func New(tb testing.TB, ops *lowlevel.Operations, cfg *lowlevel.Config) *Kernel {
	tb.Helper()
	return Options{}.New(tb, ops, cfg)
}

// New is the function New for another kind of kernel.
func (o Options) New(tb testing.TB, ops *lowlevel.Operations, cfg *lowlevel.Config) *Kernel {
	tb.Helper()
	k := o.kernel(tb)
	var c lowlevel.Config
	if cfg != nil {
		c = *cfg
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(k.log, &slog.HandlerOptions{Level: lowlevel.LevelTrace}))
	}
	if c.MaxIdle == 0 {
		c.MaxIdle = -1 // see device.Read
	}
	k.clone = c.CloneFD
	s, err := lowlevel.New(ops, &c)
	if err != nil {
		tb.Fatalf("fusetest: %v", err)
	}
	if err := s.Use(k.Transport()); err != nil {
		tb.Fatalf("fusetest: %v", err)
	}
	k.s, k.served = s, make(chan error, 1)
	go func() { k.served <- s.Serve(context.Background()) }()
	tb.Cleanup(k.finish)
	if !o.NoInit {
		if err := k.Init(); err != nil {
			tb.Fatalf("fusetest: INIT: %v", err)
		}
	}
	return k
}

// Bare makes a kernel without a session: the test lets one use its Transport, and calls Init when that is served.
func (o Options) Bare(tb testing.TB) *Kernel {
	k := o.kernel(tb)
	tb.Cleanup(func() {
		k.check()
		k.Disconnect()
	})
	return k
}

func (o Options) kernel(tb testing.TB) *Kernel {
	if o.Major == 0 {
		o.Major = wire.KernelMajor
		if o.Minor == 0 {
			o.Minor = wire.KernelMinor
		}
	}
	if o.Flags == 0 {
		o.Flags = OfferedFlags(o.Minor)
	}
	if o.MaxReadahead == 0 {
		o.MaxReadahead = 128 << 10
	}
	k := &Kernel{
		tb: tb, o: o, minor: o.Minor, notes: make(chan Notification, 4096), sticky: make(map[wire.Opcode]bool),
		nodes: map[lowlevel.NodeID]*node{lowlevel.RootID: {lookups: 1, mode: syscall.S_IFDIR}}, log: &guardedWriter{w: tb.Output()},
	}
	k.Client = &Client{k: k, Caller: Caller{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: uint32(os.Getpid())}}
	k.news.L = &k.mu
	k.first = k.newDevice()
	return k
}

// Transport is the server's side of the connection, to be used once.
func (k *Kernel) Transport() session.Transport {
	return session.NewCustomTransport(k.first, &session.Config{CloneFD: k.clone})
}

// Session is the session that New has started.
func (k *Kernel) Session() *lowlevel.Session { return k.s }

// Served is told what Session.Serve returned.
func (k *Kernel) Served() <-chan error { return k.served }

// finish ends the session and reports what is left.
func (k *Kernel) finish() {
	k.check()
	if err := k.s.Close(); err != nil {
		k.tb.Errorf("fusetest: %v", err)
		k.log.end()
		return
	}
	<-k.served
	k.log.end()
}

// check fails the test for requests without a reply and for what the server did wrong.
func (k *Kernel) check() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.o.Unanswered && k.ended == nil {
		for _, c := range k.unanswered() {
			k.tb.Errorf("fusetest: no reply to %v", c)
		}
	}
	if !k.o.Lenient {
		for _, v := range k.violations {
			k.tb.Errorf("fusetest: %s", v)
		}
	}
	k.violations = nil
}

// unanswered lists the requests that wait for a reply. The caller holds k.mu.
func (k *Kernel) unanswered() []*Call {
	var list []*Call
	for _, c := range k.pending {
		if c.wantsReply() {
			list = append(list, c)
		}
	}
	for _, c := range k.first.processing {
		list = append(list, c)
	}
	for _, d := range k.first.clones {
		for _, c := range d.processing {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *Call) int { return cmp.Compare(a.Unique, b.Unique) })
	return list
}

// Unanswered lists the requests that wait for a reply, oldest first.
func (k *Kernel) Unanswered() []*Call {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unanswered()
}

// Violations lists what the server wrote that the kernel does not accept, in words.
func (k *Kernel) Violations() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.violations)
}

// violate notes something that a server must not do. The caller holds k.mu.
func (k *Kernel) violate(format string, args ...any) {
	k.violations = append(k.violations, fmt.Sprintf(format, args...))
}

// Init sends INIT and takes the answer as the kernel does: an error, another major version or an argument that cannot be makes
// every later request fail with ECONNREFUSED.
func (k *Kernel) Init() error {
	in := wire.InitIn{Major: k.o.Major, Minor: k.o.Minor, MaxReadahead: k.o.MaxReadahead}
	in.Flags, in.Flags2 = uint32(k.o.Flags), uint32(k.o.Flags>>32)
	size := k.o.InitSize
	switch {
	case size != 0:
	case k.o.Minor < 6 && k.o.Major == wire.KernelMajor:
		size = 8
	case k.o.Minor < 36:
		size = 16
	default:
		size = 64
	}
	body, err := k.Start(wire.OpInit, 0, sys.Bytes(&in)[:size], nil).Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	var out wire.InitOut
	copy(sys.Bytes(&out), body)
	if err == nil && out.Major != wire.KernelMajor {
		err = fmt.Errorf("answer of protocol %d.%d: %w", out.Major, out.Minor, syscall.ECONNREFUSED)
	}
	if err != nil {
		k.refused = true
		return err
	}
	if k.o.Major > wire.KernelMajor { // the server wants to hear from a version that it knows
		return nil
	}
	k.init, k.inited = out, true
	k.minor = min(k.o.Minor, out.Minor)
	k.flags = k.o.Flags & wire.JoinInitFlags(out.Flags, out.Flags2)
	if extra := wire.JoinInitFlags(out.Flags, out.Flags2) &^ (k.o.Flags | wire.InitBigWrites); extra != 0 {
		k.violate("INIT: %v was not offered", extra)
	}
	return nil
}

// InitReply is the server's answer to INIT.
func (k *Kernel) InitReply() wire.InitOut {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.init
}

// Flags are the INIT flags that both sides have agreed on.
func (k *Kernel) Flags() wire.InitFlags {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.flags
}

// layout is the minor that decides over the layout of messages.
func (k *Kernel) layout() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.minor
}

// flagsSince are the minors with which INIT flags came.
var flagsSince = []struct {
	minor uint32
	flags wire.InitFlags
}{
	{6, wire.InitAsyncRead},
	{7, wire.InitPosixLocks},
	{9, wire.InitAtomicOTrunc | wire.InitBigWrites},
	{10, wire.InitExportSupport},
	{12, wire.InitDontMask},
	{14, wire.InitSpliceWrite | wire.InitSpliceMove | wire.InitSpliceRead},
	{17, wire.InitFlockLocks},
	{18, wire.InitHasIoctlDir},
	{20, wire.InitAutoInvalData},
	{21, wire.InitDoReaddirplus | wire.InitReaddirplusAuto},
	{22, wire.InitAsyncDIO},
	{23, wire.InitWritebackCache | wire.InitNoOpenSupport},
	{25, wire.InitParallelDirops},
	{26, wire.InitHandleKillpriv | wire.InitPosixACL},
	{27, wire.InitAbortError},
	{28, wire.InitMaxPages | wire.InitCacheSymlinks},
	{29, wire.InitNoOpendirSupport},
	{30, wire.InitExplicitInvalData},
	{33, wire.InitHandleKillprivV2 | wire.InitSetxattrExt},
	{36, wire.InitExt | wire.InitSecurityCtx},
	{38, wire.InitCreateSuppGroup | wire.InitHasExpireOnly},
	{39, wire.InitDirectIOAllowMmap},
	{40, wire.InitPassthrough | wire.InitNoExportSupport | wire.InitHasResend},
	{41, wire.InitAllowIdmap},
	{43, wire.InitRequestTimeout},
}

// OfferedFlags is what a kernel of that minor offers in INIT, without what needs a module parameter or DAX.
func OfferedFlags(minor uint32) (f wire.InitFlags) {
	for _, s := range flagsSince {
		if minor >= s.minor {
			f |= s.flags
		}
	}
	return f
}

// Disconnect ends the connection, as unmounting or aborting does: requests that were read fail with ECONNABORTED, later ones with
// ENOTCONN, and the server's reads and writes with ENODEV.
func (k *Kernel) Disconnect() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disconnect(syscall.ENODEV)
}

func (k *Kernel) disconnect(err error) {
	if k.ended != nil {
		return
	}
	k.ended = err
	for _, c := range k.pending {
		c.finish(nil, syscall.ECONNABORTED)
	}
	k.pending, k.interrupts = nil, nil
	k.first.abort()
	for _, d := range k.first.clones {
		d.abort()
	}
	k.news.Broadcast()
}

// guardedWriter is the test's log until the test ends.
type guardedWriter struct {
	mu   sync.Mutex
	w    io.Writer
	over bool
}

func (g *guardedWriter) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return len(p), nil
	}
	return g.w.Write(p)
}

func (g *guardedWriter) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}
