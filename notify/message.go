//go:build linux

package notify

import (
	"encoding/binary"
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

const headSize = 16 // of struct fuse_out_header

// message is one notification.
type message struct {
	code   wire.NotifyCode
	node   NodeID // whose order it keeps in the queue: the inode, the parent directory, 0: none
	child  NodeID
	nodes  []NodeID // PRUNE; nil: node
	name   string
	flags  wire.InvalEntryFlags
	off    int64
	length int64
	data   [][]byte // STORE
	kh     uint64
	unique uint64 // RETRIEVE
	body   any    // of the iomap notifications, a struct of package wire

	batch  *batch      // in the queue
	failed func(error) // hears that it was not sent
}

// allowed says why the kernel must not get m.
func (m *message) allowed(s Sender) error {
	st := s.NotifyState()
	if m.flags&wire.ExpireOnly != 0 {
		return st.supportsExpire()
	}
	if m.code == wire.NotifyPoll && st.Ready { // a handle shows that the kernel knows it
		return nil
	}
	return st.supports(m.code)
}

// waitsFor lists the nodes whose requests can keep the kernel from taking m; nil if it never waits.
func (m *message) waitsFor() []NodeID {
	switch m.code {
	case wire.NotifyInvalInode:
		if m.off < 0 {
			return nil
		}
		return []NodeID{m.node}
	case wire.NotifyStore, wire.NotifyInvalEntry:
		return []NodeID{m.node}
	case wire.NotifyDelete:
		return []NodeID{m.node, m.child}
	}
	return nil
}

func (m *message) dataSize() (n int) {
	for _, d := range m.data {
		n += len(d)
	}
	return n
}

// head appends m without its data to b.
func (m *message) head(b []byte) []byte {
	b = put(b, &wire.OutHeader{Error: int32(m.code)})
	switch m.code {
	case wire.NotifyPoll:
		b = put(b, &wire.NotifyPollWakeupOut{KH: m.kh})
	case wire.NotifyInvalInode:
		b = put(b, &wire.NotifyInvalInodeOut{Ino: uint64(m.node), Off: m.off, Len: m.length})
	case wire.NotifyInvalEntry:
		b = put(b, &wire.NotifyInvalEntryOut{Parent: uint64(m.node), NameLen: uint32(len(m.name)), Flags: uint32(m.flags)})
		b = append(append(b, m.name...), 0)
	case wire.NotifyDelete:
		b = put(b, &wire.NotifyDeleteOut{Parent: uint64(m.node), Child: uint64(m.child), NameLen: uint32(len(m.name))})
		b = append(append(b, m.name...), 0)
	case wire.NotifyStore:
		b = put(b, &wire.NotifyStoreOut{NodeID: uint64(m.node), Offset: uint64(m.off), Size: uint32(m.dataSize())})
	case wire.NotifyRetrieve:
		b = put(b, &wire.NotifyRetrieveOut{NotifyUnique: m.unique, NodeID: uint64(m.node), Offset: uint64(m.off), Size: uint32(m.length)})
	case wire.NotifyPrune:
		nodes := m.nodes
		if nodes == nil {
			nodes = []NodeID{m.node}
		}
		b = put(b, &wire.NotifyPruneOut{Count: uint32(len(nodes))})
		for _, id := range nodes {
			b = binary.NativeEndian.AppendUint64(b, uint64(id))
		}
	default:
		if m.body != nil {
			b = put(b, m.body)
		}
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)+m.dataSize()))
	return b
}

// put appends a struct of the protocol, none of which has hidden padding.
func put(b []byte, v any) []byte {
	b, err := binary.Append(b, binary.NativeEndian, v)
	if err != nil {
		panic(err) // v is no struct of fixed size
	}
	return b
}

// class says which messages of a node make each other superfluous.
type class struct {
	code wire.NotifyCode
	name string
	kh   uint64
}

// mergeable reports whether m can be merged with one that waits, and which.
func (m *message) mergeable() (class, bool) {
	switch m.code {
	case wire.NotifyInvalInode, wire.NotifyInvalEntry, wire.NotifyPrune, wire.NotifyPoll, wire.NotifyResend, wire.NotifyIncEpoch:
		return class{m.code, m.name, m.kh}, true
	}
	return class{}, false
}

// absorb makes w, which has not been sent, also do what m is for, and reports whether it could.
func (w *message) absorb(m *message) bool {
	switch w.code {
	case wire.NotifyInvalEntry:
		w.flags &= m.flags // forgetting a name also ends its time
	case wire.NotifyInvalInode:
		switch {
		case m.off < 0: // each of them drops the attributes
		case w.off < 0:
			w.off, w.length = m.off, m.length
		default:
			wEnd, wAll := w.end()
			mEnd, mAll := m.end()
			if !wAll && m.off > wEnd || !mAll && w.off > mEnd {
				return false // what lies between is still good
			}
			w.off, w.length = min(w.off, m.off), 0
			if !wAll && !mAll {
				w.length = max(wEnd, mEnd) - w.off
			}
		}
	}
	return true
}

// end is where the range of an INVAL_INODE ends, and whether it has no end.
func (m *message) end() (int64, bool) {
	end := m.off + m.length
	return end, m.length <= 0 || end < 0
}

// keep makes m independent of the caller's memory.
func (m *message) keep() {
	if len(m.data) > 0 {
		m.data = [][]byte{slices.Concat(m.data...)}
	}
}

// worthTelling reports whether err of a notification says more than that there was nothing to do.
func worthTelling(err error) bool { return err != nil && err != syscall.ENOENT }
