//go:build linux

package fusetest

import (
	"bytes"
	"fmt"
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// FaultPlan lets the device fail. Its functions are called with the number of the message, counted from 1, and without locks.
type FaultPlan struct {
	// Read is asked before a message is handed out; an error goes to the reader, who may come again, in place of the message.
	Read func(n int) error
	// Write is asked before a message is taken.
	Write func(n int, msg []byte) Fault
	// DisconnectAfter ends the connection once that many messages were read; 0: never.
	DisconnectAfter int
}

// Fault is what becomes of one write. The zero value lets it pass.
type Fault struct {
	Err        error // the write fails with it, and the kernel sees nothing
	Short      int   // only that many bytes are taken, and the kernel refuses them as it does every message of a wrong length; 0: all
	ShortOK    bool  // with Short: the write does not fail but returns Short, and the kernel sees nothing
	Disconnect bool  // the connection ends before the write
}

// device is an open /dev/fuse: one way to the connection, with the requests that were read through it.
type device struct {
	k          *Kernel
	processing map[uint64]*Call
	reader     map[*byte]*Call // the last message without a reply that went into a buffer
	clones     []*device       // of the first one
	closed     bool
}

var (
	_ session.CloneIO = (*device)(nil)
	_ session.WakeIO  = (*device)(nil)
)

func (k *Kernel) newDevice() *device {
	k.open++
	return &device{k: k, processing: make(map[uint64]*Call), reader: make(map[*byte]*Call)}
}

// Clone opens one more device of the connection.
func (d *device) Clone() (session.CustomIO, error) {
	k := d.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended != nil {
		return nil, k.ended
	}
	n := k.newDevice()
	k.first.clones = append(k.first.clones, n)
	return n, nil
}

// Wake makes waiting and later reads fail with EINTR.
func (d *device) Wake() error {
	k := d.k
	k.mu.Lock()
	defer k.mu.Unlock()
	k.woken = true
	k.first.handled()
	for _, d := range k.first.clones {
		d.handled()
	}
	k.news.Broadcast()
	return nil
}

// Close ends what was read through this device; the last one ends the connection.
func (d *device) Close() error {
	k := d.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.abort()
	if k.open--; k.open == 0 {
		k.disconnect(syscall.ENODEV)
	}
	k.news.Broadcast()
	return nil
}

// abort fails the requests that were read. The caller holds k.mu.
func (d *device) abort() {
	for _, c := range d.processing {
		c.finish(nil, syscall.ECONNABORTED)
	}
	clear(d.processing)
	d.handled()
}

// handled ends the messages without a reply that are still counted as being worked on.
func (d *device) handled() {
	for _, c := range d.reader {
		c.finish(nil, nil)
	}
	clear(d.reader)
}

// minBuffer is what the buffer of a read must have: room for the largest write.
func (k *Kernel) minBuffer() int {
	return max(wire.MinReadBuffer, sys.SizeOf[wire.InHeader]()+sys.SizeOf[wire.WriteIn]()+int(k.init.MaxWrite))
}

// Read hands out one message: interrupts first, then what is pending.
func (d *device) Read(p []byte) (int, error) {
	k := d.k
	k.mu.Lock()
	defer k.mu.Unlock()
	// A worker that comes back has dealt with what it got into the same buffer last time.
	if len(p) > 0 {
		if c := d.reader[&p[0]]; c != nil {
			delete(d.reader, &p[0])
			c.finish(nil, nil)
		}
	}
	for {
		switch {
		case d.closed:
			return 0, syscall.EBADF
		case k.ended != nil:
			return 0, k.ended
		case len(p) < k.minBuffer():
			k.violate("read into %d bytes, the least is %d", len(p), k.minBuffer())
			return 0, syscall.EINVAL
		case len(k.interrupts)+len(k.pending) > 0:
			if n, err := d.take(p); n > 0 || err != nil {
				return n, err
			}
			continue
		case k.woken:
			return 0, syscall.EINTR
		}
		k.news.Wait()
	}
}

// take moves the next message into p. It returns 0 if there was none after all. The caller holds k.mu, which is released for a while.
func (d *device) take(p []byte) (int, error) {
	k := d.k
	if after := k.o.Faults.DisconnectAfter; after > 0 && k.reads >= after {
		k.disconnect(syscall.ENODEV)
		return 0, k.ended
	}
	if fault := k.o.Faults.Read; fault != nil {
		k.reads++
		n := k.reads
		k.mu.Unlock()
		err := fault(n)
		k.mu.Lock()
		if err != nil {
			return 0, err
		}
	} else {
		k.reads++
	}
	list := &k.pending
	if len(k.interrupts) > 0 {
		list = &k.interrupts
	} else if len(k.pending) == 0 {
		return 0, nil
	}
	c := (*list)[0]
	*list = slices.Delete(*list, 0, 1)
	if len(c.msg) > len(p) {
		if c.Op == wire.OpSetxattr {
			c.finish(nil, syscall.E2BIG)
		} else {
			c.finish(nil, syscall.EIO)
		}
		return 0, nil
	}
	n := copy(p, c.msg)
	switch {
	case c.isInterrupt:
		c.finish(nil, nil)
	case !c.wantsReply():
		if k.s != nil && n <= maxSmall {
			d.reader[&p[0]] = c
		} else {
			c.finish(nil, nil)
		}
	default:
		c.dev = d
		d.processing[c.key()] = c
		if c.interrupted {
			k.queueInterrupt(c)
		}
	}
	close(c.read)
	return n, nil
}

// maxSmall is the length up to which a session copies messages out of the buffer that it reads them into.
const maxSmall = 1024

// Writev takes one reply or notification.
func (d *device) Writev(parts [][]byte) (int, error) {
	msg := slices.Concat(parts...)
	k := d.k
	k.mu.Lock()
	k.writes++
	n := k.writes
	k.mu.Unlock()
	if seen := k.o.OnReply; seen != nil {
		seen(msg)
	}
	var f Fault
	if fault := k.o.Faults.Write; fault != nil {
		f = fault(n, msg)
	}
	switch {
	case f.Disconnect:
		k.Disconnect()
	case f.Err != nil:
		return 0, f.Err
	case f.Short > 0 && f.ShortOK:
		return f.Short, nil
	}
	total := len(msg)
	if f.Short > 0 {
		msg = msg[:min(f.Short, len(msg))]
	}
	if err := d.write(msg, f.Short > 0); err != nil {
		return 0, err
	}
	return total, nil
}

// write is the kernel's side of a write.
func (d *device) write(msg []byte, cut bool) error {
	k := d.k
	var h wire.OutHeader
	k.mu.Lock()
	defer k.mu.Unlock()
	refuse := func(e syscall.Errno, format string, args ...any) error {
		if !cut {
			k.violate(format, args...)
		}
		return e
	}
	if d.closed {
		return syscall.EBADF
	}
	if k.ended != nil {
		return k.ended
	}
	if copy(sys.Bytes(&h), msg) < sys.SizeOf[wire.OutHeader]() {
		return refuse(syscall.EINVAL, "write of %d bytes", len(msg))
	}
	body := bytes.Clone(msg[sys.SizeOf[wire.OutHeader]():])
	if int(h.Len) != len(msg) {
		return refuse(syscall.EINVAL, "write of %d bytes that says it has %d", len(msg), h.Len)
	}
	if h.Unique == 0 {
		return k.notification(wire.NotifyCode(h.Error), body)
	}
	if h.Error <= -512 || h.Error > 0 {
		return refuse(syscall.EINVAL, "reply to request %d with error %d", h.Unique, h.Error)
	}
	c := d.processing[h.Unique&^interruptBit]
	if c == nil {
		return syscall.ENOENT
	}
	e := syscall.Errno(-h.Error)
	if h.Unique&interruptBit != 0 {
		if len(body) > 0 {
			return refuse(syscall.EINVAL, "reply of %d bytes to the interrupt of request %d", len(msg), c.Unique)
		}
		switch e {
		case syscall.ENOSYS:
			k.noInterrupt = true
		case syscall.EAGAIN:
			k.queueInterrupt(c)
		}
		return nil
	}
	delete(d.processing, h.Unique)
	if e != 0 && len(body) > 0 {
		c.finish(nil, syscall.EIO)
		return refuse(syscall.EINVAL, "reply of %d bytes with an error to %v", len(msg), c)
	}
	if e != 0 {
		c.finish(nil, e)
		return nil
	}
	if fixed, tail := k.outSize(c); len(body) < fixed || len(body) > fixed+tail {
		c.finish(nil, syscall.EIO)
		return refuse(syscall.EINVAL, "reply with %d bytes to %v, which takes %s", len(body), c, sizeText(fixed, tail))
	}
	if err := k.account(c, body); err != nil {
		c.invalid = err
	}
	c.finish(body, nil)
	return nil
}

func sizeText(fixed, tail int) string {
	if tail == 0 {
		return fmt.Sprint(fixed)
	}
	return fmt.Sprintf("%d to %d", fixed, fixed+tail)
}

// interruptBit is set in the unique of an INTERRUPT.
const interruptBit = 1

// resendBit is set in the unique of a request that was sent again.
const resendBit = 1 << 63

// queueInterrupt sends an INTERRUPT for a request that was read. The caller holds k.mu.
func (k *Kernel) queueInterrupt(c *Call) {
	if k.noInterrupt || slices.ContainsFunc(k.interrupts, func(i *Call) bool { return i.Unique == c.key()|interruptBit }) {
		return
	}
	i := k.newCall(wire.OpInterrupt, 0, Caller{}, sys.Bytes(&wire.InterruptIn{Unique: c.key()}), nil, nil, c.key()|interruptBit)
	i.isInterrupt = true
	k.interrupts = append(k.interrupts, i)
	k.news.Broadcast()
}

// Interrupt does what a signal to the caller of a request does: an INTERRUPT follows when the request was read. It reports
// whether the request is still in flight.
func (k *Kernel) Interrupt(unique uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.unanswered() {
		if c.Unique == unique {
			c.interrupted = true
			if c.dev != nil {
				k.queueInterrupt(c)
			}
			return true
		}
	}
	return false
}

// NoInterrupt reports whether the server has turned interrupts off.
func (k *Kernel) NoInterrupt() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.noInterrupt
}
