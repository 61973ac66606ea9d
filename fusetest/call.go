//go:build linux

package fusetest

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// Caller is who makes a system call: what the request's header says, and the extensions of those that create something.
type Caller struct {
	UID, GID, PID uint32
	Umask         uint32
	SecCtx        []wire.SecurityContext // nil: no extension, empty: one without labels
	Groups        []uint32               // nil: no extension
}

// extensions is the extension area of a creating request.
func (c *Caller) extensions() (b []byte) {
	if c.SecCtx != nil {
		b = wire.AppendSecurityContexts(b, c.SecCtx...)
	}
	if c.Groups != nil {
		b = wire.AppendGroups(b, c.Groups...)
	}
	return b
}

// Call is a request that was sent.
type Call struct {
	Op     wire.Opcode
	NodeID lowlevel.NodeID
	Unique uint64

	k           *Kernel
	msg         []byte
	arg         []byte // of msg
	dev         *device
	isInterrupt bool
	resent      bool
	interrupted bool
	read, done  chan struct{}
	over        bool
	reply       []byte
	err         error
	invalid     error // why a kernel fails the system call although the reply has the right form
}

func (c *Call) String() string {
	return fmt.Sprintf("%v of node %d (unique %d)", c.Op, c.NodeID, c.Unique)
}

// Read is closed when the server has read the request.
func (c *Call) Read() <-chan struct{} {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	return c.read
}

// key is the unique as the server knows it.
func (c *Call) key() uint64 {
	if c.resent {
		return c.Unique | resendBit
	}
	return c.Unique
}

// Done is closed when the request is over.
func (c *Call) Done() <-chan struct{} { return c.done }

// Wait returns what followed the header of the reply, or the error with which the request ended: the server's errno, EIO for a
// reply that cannot be, ENOTCONN or ECONNABORTED when the connection is gone. A request without a reply is over when the server
// has dealt with it.
func (c *Call) Wait() ([]byte, error) {
	<-c.done
	return c.reply, c.err
}

// Interrupt is Kernel.Interrupt of this request.
func (c *Call) Interrupt() bool { return c.k.Interrupt(c.Unique) }

// finish ends the request. The caller holds k.mu.
func (c *Call) finish(reply []byte, err error) {
	if c.over {
		return
	}
	c.over, c.reply, c.err = true, reply, err
	close(c.done)
}

// wantsReply reports whether the kernel waits for a reply.
func (c *Call) wantsReply() bool {
	switch c.Op {
	case wire.OpForget, wire.OpBatchForget, wire.OpNotifyReply:
		return false
	}
	return !c.isInterrupt
}

// newCall builds a request. The caller holds k.mu.
func (k *Kernel) newCall(op wire.Opcode, ino lowlevel.NodeID, who Caller, arg, payload, ext []byte, unique uint64) *Call {
	h := wire.InHeader{
		Len: uint32(sys.SizeOf[wire.InHeader]() + len(arg) + len(payload) + len(ext)), Opcode: uint32(op), Unique: unique, NodeID: uint64(ino),
		UID: who.UID, GID: who.GID, PID: who.PID, TotalExtLen: uint16(len(ext) / 8),
	}
	msg := slices.Concat(sys.Bytes(&h), arg, payload, ext)
	return &Call{
		Op: op, NodeID: ino, Unique: unique, k: k, msg: msg, arg: msg[sys.SizeOf[wire.InHeader]():][:len(arg)],
		read: make(chan struct{}), done: make(chan struct{}),
	}
}

// start sends a request.
func (c *Client) start(op wire.Opcode, ino lowlevel.NodeID, arg, payload, ext []byte) *Call {
	k := c.k
	who := c.Caller
	switch op {
	case wire.OpForget, wire.OpBatchForget, wire.OpInit, wire.OpDestroy, wire.OpRelease, wire.OpReleasedir, wire.OpNotifyReply:
		who = Caller{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unique += 2
	return k.submit(k.newCall(op, ino, who, arg, payload, ext, k.unique))
}

// submit queues a request. The caller holds k.mu.
func (k *Kernel) submit(c *Call) *Call {
	switch {
	case k.ended != nil:
		c.finish(nil, syscall.ENOTCONN)
	case k.refused:
		c.finish(nil, syscall.ECONNREFUSED)
	default:
		k.pending = append(k.pending, c)
		k.news.Broadcast()
	}
	return c
}

// Start sends a request of any kind and does not wait: arg is the opcode's fixed argument, payload follows it. Nothing is looked
// up in the kernel's tables, and no caller's extensions are added.
func (c *Client) Start(op wire.Opcode, ino lowlevel.NodeID, arg, payload []byte) *Call {
	return c.start(op, ino, arg, payload, nil)
}

// Raw is Start, and waits.
func (c *Client) Raw(op wire.Opcode, ino lowlevel.NodeID, arg, payload []byte) ([]byte, error) {
	return c.Start(op, ino, arg, payload).Wait()
}

// Inject sends msg as it is, header and all. Its unique should be one that Kernel.Unique has given.
func (k *Kernel) Inject(msg []byte) *Call {
	var h wire.InHeader
	copy(sys.Bytes(&h), msg)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &Call{Op: wire.Opcode(h.Opcode), NodeID: lowlevel.NodeID(h.NodeID), Unique: h.Unique, k: k, msg: slices.Clone(msg), read: make(chan struct{}), done: make(chan struct{})}
	c.arg = c.msg[min(len(msg), sys.SizeOf[wire.InHeader]()):]
	return k.submit(c)
}

// Unique reserves the number of a request.
func (k *Kernel) Unique() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unique += 2
	return k.unique
}

// argOf is the fixed argument of a request, zero where it is short.
func argOf[T any](c *Call) (v T) {
	copy(sys.Bytes(&v), c.arg)
	return v
}

// outSize is how long the body of a successful reply must be: a fixed part, and how much may follow it. The caller holds k.mu.
func (k *Kernel) outSize(c *Call) (fixed, tail int) {
	entry, attr := sys.SizeOf[wire.EntryOut](), sys.SizeOf[wire.AttrOut]()
	if k.minor < 9 {
		entry, attr = wire.CompatEntryOutSize, wire.CompatAttrOutSize
	}
	switch c.Op {
	case wire.OpLookup, wire.OpSymlink, wire.OpMknod, wire.OpMkdir, wire.OpLink:
		return entry, 0
	case wire.OpGetattr, wire.OpSetattr:
		return attr, 0
	case wire.OpReadlink:
		return 0, sys.PageSize - 1
	case wire.OpOpen, wire.OpOpendir:
		return sys.SizeOf[wire.OpenOut](), 0
	case wire.OpCreate, wire.OpTmpfile:
		return entry + sys.SizeOf[wire.OpenOut](), 0
	case wire.OpRead, wire.OpReaddir, wire.OpReaddirplus:
		return 0, int(argOf[wire.ReadIn](c).Size)
	case wire.OpWrite, wire.OpCopyFileRange, wire.OpCopyFileRange64, wire.OpBmap, wire.OpPoll, wire.OpLseek:
		return 8, 0
	case wire.OpStatfs:
		if k.minor < 4 {
			return wire.CompatStatfsSize, 0
		}
		return sys.SizeOf[wire.StatfsOut](), 0
	case wire.OpGetxattr, wire.OpListxattr:
		if n := int(argOf[wire.GetxattrIn](c).Size); n > 0 {
			return 0, n
		}
		return sys.SizeOf[wire.GetxattrOut](), 0
	case wire.OpInit:
		return 8, 56
	case wire.OpGetlk:
		return sys.SizeOf[wire.LKOut](), 0
	case wire.OpIoctl:
		return sys.SizeOf[wire.IoctlOut](), max(int(argOf[wire.IoctlIn](c).OutSize), sys.PageSize)
	case wire.OpStatx:
		return sys.SizeOf[wire.StatxOut](), 0
	case wire.OpCuseInit:
		return sys.SizeOf[wire.CuseInitOut](), 4096
	case wire.OpIomapConfig:
		return sys.SizeOf[wire.IomapConfigOut](), 0
	case wire.OpIomapIoend:
		return sys.SizeOf[wire.IomapIoendOut](), 0
	case wire.OpIomapBegin:
		return sys.SizeOf[wire.IomapBeginOut](), 0
	}
	return 0, 0
}
