//go:build linux

// Package notify is what a server tells the kernel unasked: that cached data, attributes and names are stale, that a file
// can be polled again, data for the page cache and questions about it, and changes below iomap files.
//
// A notification may wait in the kernel for locks that a request holds until it is answered: one about names for the lock of
// the directory, one about data for the pages that are being read or written. Sent from inside the handler of such a request
// it never returns. Later is the form that may be used anywhere.
package notify

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

// NodeID is the number under which the kernel knows an inode: the server's choice, unique while the kernel holds references.
type NodeID uint64

// Sender is the session below a Notifier.
type Sender interface {
	// Send writes one message to the kernel, in one piece. Its error is the kernel's.
	Send(parts ...[]byte) error
	// NotifyState says what the kernel understands at the moment.
	NotifyState() State
}

// State is what a Notifier has to know of its connection.
type State struct {
	Ready      bool              // FUSE_INIT was answered, and FUSE_DESTROY has not come
	Minor      uint32            // of the kernel's protocol version
	ExpireOnly bool              // entries can be expired
	URing      bool              // requests come through io_uring
	MaxWrite   uint32            // largest answer to a retrieve in bytes
	Profile    wire.IomapProfile // numbering of the iomap extension
}

// Options are what a Notifier can be told; the zero value is usable.
type Options struct {
	Logger *slog.Logger // hears of queued notifications that failed; nil: slog.Default()
	Limit  int          // most notifications that wait in the queue, 0: 65536
	Bytes  int          // most bytes of data that wait there, 0: 64 MiB

	// Guard is called before a notification is sent directly that may have to wait for a request on one of nodes, and
	// what it returns is called afterwards; for finding deadlocks. It may be nil.
	Guard func(code wire.NotifyCode, nodes ...NodeID) (done func())
}

// NotSupportedError is returned for a notification that the kernel does not know: it would take it for another one, or for
// garbage. Its errno is ENOSYS.
type NotSupportedError struct {
	Code       wire.NotifyCode
	ExpireOnly bool   // it is the form of INVAL_ENTRY that only lets the entry's time run out
	Need, Have uint32 // protocol minors; wire.IomapMinor stands for the iomap extension
}

func (e *NotSupportedError) Error() string {
	what := e.Code.String()
	if e.ExpireOnly {
		what += " with EXPIRE_ONLY"
	}
	return fmt.Sprintf("fuse: notification %s needs protocol 7.%d, this kernel has 7.%d", what, e.Need, e.Have)
}

// Unwrap returns ENOSYS, which libfuse returns.
func (e *NotSupportedError) Unwrap() error { return syscall.ENOSYS }

// since is the minor from which on the kernel knows a notification.
func since(code wire.NotifyCode) uint32 {
	switch code {
	case wire.NotifyPoll:
		return 11
	case wire.NotifyInvalInode, wire.NotifyInvalEntry:
		return 12
	case wire.NotifyStore, wire.NotifyRetrieve:
		return 15
	case wire.NotifyDelete:
		return 18
	case wire.NotifyResend:
		return 40
	case wire.NotifyIncEpoch:
		return 44
	case wire.NotifyPrune:
		return 45
	}
	return wire.IomapMinor
}

// expireSince is the minor from which on INVAL_ENTRY has flags.
const expireSince = 38

func (s *State) supports(code wire.NotifyCode) error {
	if !s.Ready {
		return syscall.ENOTCONN
	}
	if need := since(code); s.Minor < need || need == wire.IomapMinor && s.Minor != need {
		return &NotSupportedError{Code: code, Need: need, Have: s.Minor}
	}
	return nil
}

// Notifier sends notifications. Its methods may be called from any goroutine; those that wait in the kernel say so.
//
// They fail with ENOTCONN before FUSE_INIT is answered and after the file system is unmounted, with NotSupportedError if
// the kernel is too old, and else with what the kernel says: ENOENT means that it does not know the inode or the name, so
// that nothing is stale. The queued form (Later) checks the first two at once; what the kernel says is told by Flush.
type Notifier struct {
	c      *core
	queued bool
}

// core is what the direct and the queued form share.
type core struct {
	s     Sender
	o     Options
	q     queue
	now   Notifier
	later Notifier

	mu        sync.Mutex
	stopped   bool
	deaf      bool // no answers come any more
	sending   int
	quiet     chan struct{} // closed when nothing is being sent any more, if somebody waits for that
	retrieves map[uint64]*retrieval
	retrieved atomic.Uint64 // number of the last retrieve
}

// New makes the Notifier of a session.
func New(s Sender, o *Options) *Notifier {
	c := &core{s: s, retrieves: make(map[uint64]*retrieval)}
	if o != nil {
		c.o = *o
	}
	if c.o.Logger == nil {
		c.o.Logger = slog.Default()
	}
	if c.o.Limit <= 0 {
		c.o.Limit = 1 << 16
	}
	if c.o.Bytes <= 0 {
		c.o.Bytes = 64 << 20
	}
	c.now, c.later = Notifier{c, false}, Notifier{c, true}
	c.q.init(c)
	return &c.now
}

// Supports says why a notification cannot be sent: NotSupportedError, or ENOTCONN without a connection; nil if it can.
func (n *Notifier) Supports(code wire.NotifyCode) error {
	st := n.c.s.NotifyState()
	return st.supports(code)
}

// SupportsExpire is Supports for ExpireEntry.
func (n *Notifier) SupportsExpire() error {
	st := n.c.s.NotifyState()
	return st.supportsExpire()
}

func (s *State) supportsExpire() error {
	if err := s.supports(wire.NotifyInvalEntry); err != nil {
		return err
	}
	if !s.ExpireOnly {
		return &NotSupportedError{Code: wire.NotifyInvalEntry, ExpireOnly: true, Need: expireSince, Have: s.Minor}
	}
	return nil
}

// InvalInode makes the kernel drop the attributes of an inode and n bytes of its cached data from off on. With off < 0 only
// the attributes go, with n <= 0 all data from off to the end. Dirty data are written back first, and pages waited for
// that are being read or written: directly, it must not be used while a read or a write of the inode waits for the caller.
// Since minor 12.
func (n *Notifier) InvalInode(ino NodeID, off, length int64) error {
	return n.do(message{code: wire.NotifyInvalInode, node: ino, off: off, length: length})
}

// InvalEntry makes the kernel forget a name, and the attributes of the directory: the next use looks it up again. It waits
// for the directory's lock: directly, it must not be used while a request that looks at or changes the directory waits for
// the caller. The inode behind the name keeps what is cached of it. Since minor 12.
func (n *Notifier) InvalEntry(parent NodeID, name string) error {
	return n.do(message{code: wire.NotifyInvalEntry, node: parent, name: name})
}

// ExpireEntry ends the time for which the kernel believes a name, so that its next use asks the server whether it is still
// right; mounts below it and open files stay, unlike with InvalEntry. It waits as that does. Since minor 38.
func (n *Notifier) ExpireEntry(parent NodeID, name string) error {
	return n.do(message{code: wire.NotifyInvalEntry, node: parent, name: name, flags: wire.ExpireOnly})
}

// Delete tells the kernel that a name was removed behind its back, together with the inode. It is InvalEntry that also takes
// the inode for unlinked: those who watch it with inotify hear IN_DELETE_SELF. The errno is ENOENT if the name is not
// child's (its time ends all the same), EBUSY if it is a mount point, ENOTEMPTY for a directory with names in use. It waits
// for the locks of both. Since minor 18.
func (n *Notifier) Delete(parent, child NodeID, name string) error {
	return n.do(message{code: wire.NotifyDelete, node: parent, child: child, name: name})
}

// Store puts data into the page cache at off, as if the kernel had read them; the file grows if need be, after which the
// kernel asks for its attributes, which must agree. It waits for pages that are being read or written. Later().Store keeps a copy of data. Since minor 15.
func (n *Notifier) Store(ino NodeID, off int64, data ...[]byte) error {
	m := message{code: wire.NotifyStore, node: ino, off: off, data: data}
	if uint64(m.dataSize()) > math.MaxUint32-headSize-24 {
		return syscall.EINVAL
	}
	return n.do(m)
}

// Wakeup ends a poll(2) that waits: the kernel asks again. kh is the poll handle's number (lowlevel.PollHandle). It never
// waits, and a number that the kernel has forgotten is no error.
func (n *Notifier) Wakeup(kh uint64) error {
	return n.do(message{code: wire.NotifyPoll, kh: kh})
}

// Resend makes the kernel send every request again that was read and has no reply, with another number (bit 63 set): what a
// successor of a server needs that died. It never waits. Requests in an io_uring are left alone. Since minor 40.
func (n *Notifier) Resend() error { return n.do(message{code: wire.NotifyResend}) }

// IncEpoch makes the kernel ask again for every name that it has cached, and for cached directory listings. It never waits.
// Since minor 44.
func (n *Notifier) IncEpoch() error { return n.do(message{code: wire.NotifyIncEpoch}) }

// Prune makes the kernel give up the inodes of which it has no use at the moment; their FORGET requests follow. Inodes that
// it does not know are passed over. Since minor 45.
func (n *Notifier) Prune(ino ...NodeID) error {
	if len(ino) == 0 {
		return n.Supports(wire.NotifyPrune)
	}
	if n.queued {
		for _, id := range ino { // each in the order of its node
			if err := n.do(message{code: wire.NotifyPrune, node: id}); err != nil {
				return err
			}
		}
		return nil
	}
	return n.do(message{code: wire.NotifyPrune, nodes: ino})
}

// do sends m or queues it.
func (n *Notifier) do(m message) error {
	if err := m.allowed(n.c.s); err != nil {
		return err
	}
	if n.queued {
		return n.c.q.add(m)
	}
	if guard := n.c.o.Guard; guard != nil {
		if nodes := m.waitsFor(); nodes != nil {
			defer guard(m.code, nodes...)()
		}
	}
	return n.c.send(&m)
}

// send writes a message to the kernel.
func (c *core) send(m *message) error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return syscall.ENOTCONN
	}
	c.sending++
	c.mu.Unlock()
	var room [256]byte
	parts := append([][]byte{m.head(room[:0])}, m.data...)
	err := c.s.Send(parts...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending--; c.sending == 0 && c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
	return err
}
