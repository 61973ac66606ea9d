//go:build linux

package fusetest

import (
	"bytes"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// Notification is a message of the server's own. Which fields count depends on the code.
type Notification struct {
	Code   wire.NotifyCode
	Body   []byte          // all that followed the header
	NodeID lowlevel.NodeID // INVAL_INODE, STORE, RETRIEVE
	Parent lowlevel.NodeID // INVAL_ENTRY, DELETE
	Child  lowlevel.NodeID // DELETE
	Name   string          // INVAL_ENTRY, DELETE
	Flags  uint32          // INVAL_ENTRY
	Off    int64           // INVAL_INODE, STORE, RETRIEVE
	Len    int64           // INVAL_INODE, STORE, RETRIEVE
	Data   []byte          // STORE
	KH     uint64          // POLL
	Unique uint64          // RETRIEVE
	Nodes  []lowlevel.NodeID
}

// notifySince is the minor of each notification.
var notifySince = map[wire.NotifyCode]uint32{
	wire.NotifyPoll: 11, wire.NotifyInvalInode: 12, wire.NotifyInvalEntry: 12, wire.NotifyStore: 15, wire.NotifyRetrieve: 15,
	wire.NotifyDelete: 18, wire.NotifyResend: 40, wire.NotifyIncEpoch: 44, wire.NotifyPrune: 45,
}

// Notifications delivers what the server has told the kernel unasked, if the kernel has accepted it.
func (k *Kernel) Notifications() <-chan Notification { return k.notes }

// notification takes a notification as the kernel does. The caller holds k.mu, which is released for a while.
func (k *Kernel) notification(code wire.NotifyCode, body []byte) error {
	bad := func(e syscall.Errno, why string) error {
		k.violate("notification %v: %s", code, why)
		return e
	}
	if !k.inited {
		return bad(syscall.EINVAL, "before INIT was answered")
	}
	iomap := k.o.Minor == wire.IomapMinor && code >= wire.NotifyIomapBackingInval && code <= wire.NotifyIomapInvalMappings
	if since, ok := notifySince[code]; !iomap && (!ok || k.o.Minor < since) {
		return bad(syscall.EINVAL, "not known to this kernel")
	}
	n := Notification{Code: code, Body: body}
	size, ok := 0, true
	switch code {
	case wire.NotifyPoll:
		var o wire.NotifyPollWakeupOut
		size, ok = take(&o, body)
		n.KH = o.KH
	case wire.NotifyInvalInode:
		var o wire.NotifyInvalInodeOut
		size, ok = take(&o, body)
		n.NodeID, n.Off, n.Len = lowlevel.NodeID(o.Ino), o.Off, o.Len
	case wire.NotifyInvalEntry:
		var o wire.NotifyInvalEntryOut
		size, ok = take(&o, body)
		n.Parent, n.Flags = lowlevel.NodeID(o.Parent), o.Flags
		if o.NameLen > wire.NameMax {
			return bad(syscall.ENAMETOOLONG, "name too long")
		}
		size, ok = n.name(body, size, int(o.NameLen), ok)
	case wire.NotifyDelete:
		var o wire.NotifyDeleteOut
		size, ok = take(&o, body)
		n.Parent, n.Child = lowlevel.NodeID(o.Parent), lowlevel.NodeID(o.Child)
		if o.NameLen > wire.NameMax {
			return bad(syscall.ENAMETOOLONG, "name too long")
		}
		size, ok = n.name(body, size, int(o.NameLen), ok)
	case wire.NotifyStore:
		var o wire.NotifyStoreOut
		size, ok = take(&o, body)
		n.NodeID, n.Off, n.Len = lowlevel.NodeID(o.NodeID), int64(o.Offset), int64(o.Size)
		n.Data = body[size:]
		size += int(o.Size)
		ok = ok && n.Off >= 0
	case wire.NotifyRetrieve:
		var o wire.NotifyRetrieveOut
		size, ok = take(&o, body)
		n.NodeID, n.Off, n.Len, n.Unique = lowlevel.NodeID(o.NodeID), int64(o.Offset), int64(o.Size), o.NotifyUnique
	case wire.NotifyPrune:
		var o wire.NotifyPruneOut
		size, ok = take(&o, body)
		for b := body[size:]; len(b) >= 8; b = b[8:] {
			var id uint64
			copy(sys.Bytes(&id), b)
			n.Nodes = append(n.Nodes, lowlevel.NodeID(id))
		}
		size += int(o.Count) * 8
	default: // their bodies do not count, or are not ours to judge
		size = len(body)
	}
	if !ok || size != len(body) {
		return bad(syscall.EINVAL, "malformed")
	}
	if seen := k.o.OnNotify; seen != nil {
		k.mu.Unlock()
		err := seen(&n)
		k.mu.Lock()
		if err != nil {
			return err
		}
	}
	if code == wire.NotifyResend {
		k.resend()
	}
	select {
	case k.notes <- n:
	default:
		k.violate("notification %v: %d are waiting that the test has not taken", code, len(k.notes))
	}
	return nil
}

func take[T any](o *T, body []byte) (int, bool) {
	n := copy(sys.Bytes(o), body)
	return n, n == sys.SizeOf[T]()
}

// name takes the name of n bytes with its NUL that follows size bytes.
func (n *Notification) name(body []byte, size, length int, ok bool) (int, bool) {
	if !ok || len(body) < size+length+1 {
		return size, false
	}
	name := body[size : size+length]
	n.Name = string(name)
	return size + length + 1, length > 0 && body[size+length] == 0 && bytes.IndexByte(name, 0) < 0
}

// resend queues every request again that was read and has no reply. The caller holds k.mu.
func (k *Kernel) resend() {
	var again []*Call
	for _, c := range k.unanswered() {
		if c.dev == nil {
			continue
		}
		delete(c.dev.processing, c.key())
		c.dev, c.resent = nil, true
		key := c.key()
		copy(c.msg[8:], sys.Bytes(&key))
		c.read = make(chan struct{})
		again = append(again, c)
	}
	k.pending = append(again, k.pending...)
	k.news.Broadcast()
}

// Retrieved answers a RETRIEVE notification with data, by NOTIFY_REPLY.
func (k *Kernel) Retrieved(n *Notification, data []byte) {
	in := wire.NotifyRetrieveIn{Offset: uint64(n.Off), Size: uint32(len(data))}
	k.mu.Lock()
	c := k.submit(k.newCall(wire.OpNotifyReply, n.NodeID, Caller{}, sys.Bytes(&in), data, nil, n.Unique))
	k.mu.Unlock()
	c.Wait()
}
