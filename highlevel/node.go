//go:build linux

package highlevel

import (
	"math"
	"strings"
	"syscall"
)

const (
	modeType    = syscall.S_IFMT
	modeDir     = syscall.S_IFDIR
	modeRegular = syscall.S_IFREG
)

// unknownIno is the inode number in listings of names without a node.
const unknownIno = 0xffffffff

type nodeFlags uint32

const (
	nodeHidden     nodeFlags = 1 << iota // removed while open, has a hidden name
	nodeCacheValid                       // the kernel's cached data are those of the size and time in extra
	nodeRemembered                       // one of nlookup is for Config.Remember
)

// node is an inode that the kernel knows, or has known, under one name. Everything in it is under FS.mu, but name and parent
// may be read by who holds a lock on the node (see path.go).
//
// refs counts children, one for nlookup that is not 0, and whoever uses the node for a while. A node without references is
// deleted. One with id 0 only stands for a name that somebody has locked.
type node struct {
	idNext, nameNext *node // in the tables
	parent           *node
	name             string // "": it has lost its name
	nlookup          uint64
	id, gen          uint32
	refs             uint32
	treelock         int32
	opens            uint32
	flags            nodeFlags
	extra            *nodeExtra
}

// nodeExtra is what few nodes have.
type nodeExtra struct {
	updated    int64 // when size and mtime were seen, in nanoseconds of FS.epoch
	mtime      Time
	size       uint64
	locks      []heldLock
	handles    []*openHandle
	prev, next *node // in the list of remembered nodes
	listed     bool
	forgotten  int64 // since when it is in the list
}

func (n *node) more() *nodeExtra {
	if n.extra == nil {
		n.extra = &nodeExtra{}
	}
	return n.extra
}

func (n *node) is(f nodeFlags) bool { return n.flags&f != 0 }

func (n *node) nodeID() NodeID { return NodeID(n.id) }

// byID finds a node; nil if there is none. A kernel that is sane asks for none that is not there.
func (f *FS) byID(id NodeID) *node {
	if id > math.MaxUint32 {
		return nil
	}
	h := hashID(uint32(id))
	for n := f.ids.first(h); n != nil; n = n.idNext {
		if n.id == uint32(id) {
			return n
		}
	}
	return nil
}

// child finds the node of a name, one with id 0, too; nil if there is none.
func (f *FS) child(parent *node, name string) *node {
	h := hashName(f, parent.id, name)
	for n := f.names.first(h); n != nil; n = n.nameNext {
		if n.parent == parent && n.name == name {
			return n
		}
	}
	return nil
}

// setName puts a node under a name that no other one has.
func (f *FS) setName(n, parent *node, name string) {
	n.parent, n.name = parent, name
	parent.refs++
	f.names.insert(n)
}

// dropName takes a node's name away.
func (f *FS) dropName(n *node) {
	if n.name == "" {
		return
	}
	f.names.remove(n)
	parent := n.parent
	n.parent, n.name = nil, ""
	f.unref(parent)
}

// unref gives a reference back.
func (f *FS) unref(n *node) {
	n.refs--
	f.reap(n)
}

// reap deletes a node that nobody refers to. One that is on a locked path goes when that is unlocked.
func (f *FS) reap(n *node) {
	if n.refs != 0 || n.treelock != 0 {
		return
	}
	f.unlist(n)
	if n.id != 0 {
		if f.debug {
			f.trace("DELETE: %d", n.id)
		}
		f.ids.remove(n)
	}
	f.dropName(n)
}

// nextID makes the id of a new node.
func (f *FS) nextID() {
	for {
		f.lastID++
		if f.lastID == 0 {
			f.generation++
		}
		if f.lastID != 0 && f.lastID != unknownIno && f.byID(NodeID(f.lastID)) == nil {
			return
		}
	}
}

// ref adds one to the lookup count.
func (n *node) ref() {
	if n.nlookup == 0 {
		n.refs++
	}
	n.nlookup++
}

// deref takes k off the lookup count.
func (f *FS) deref(n *node, k uint64) {
	k = min(k, n.nlookup) // the kernel gives back no more than it got
	if k == 0 {
		return
	}
	if n.nlookup -= k; n.nlookup == 0 {
		f.unref(n)
	}
}

// lookedUp finds or makes the node of a name, which may be borrowed, and counts a lookup.
func (f *FS) lookedUp(parent *node, name string) *node {
	n := f.child(parent, name)
	if n == nil {
		n = &node{}
		f.setName(n, parent, strings.Clone(name))
	}
	if n.id == 0 {
		f.nextID()
		n.id, n.gen = f.lastID, f.generation
		f.ids.insert(n)
		if f.cfg.Remember != 0 {
			n.flags |= nodeRemembered
			n.ref()
		}
	}
	f.unlist(n)
	n.ref()
	return n
}

// forget takes k lookups back.
func (f *FS) forget(id NodeID, k uint64) {
	if id == rootID {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.byID(id)
	if n == nil {
		return
	}
	if n.is(nodeRemembered) {
		k = min(k, n.nlookup-1)
	}
	f.deref(n, k)
	if f.cfg.Remember > 0 && n.is(nodeRemembered) && n.nlookup == 1 {
		f.list(n)
	}
}

// unlinked takes the name from a node whose file was removed; the kernel can still speak of it.
func (f *FS) unlinked(n *node) {
	n.refs++
	if n.is(nodeRemembered) {
		n.flags &^= nodeRemembered
		f.unlist(n)
		f.deref(n, 1)
	}
	f.dropName(n)
	f.unref(n)
}

// moved gives a node another name, which no other one has.
func (f *FS) moved(n, parent *node, name string) {
	n.refs++
	f.dropName(n)
	f.setName(n, parent, name)
	f.unref(n)
}

// exchanged swaps the names of two nodes.
func (f *FS) exchanged(a, b *node) {
	ap, an, bp, bn := a.parent, a.name, b.parent, b.name
	ap.refs++
	bp.refs++
	a.refs++
	b.refs++
	f.dropName(a)
	f.dropName(b)
	f.setName(a, bp, bn)
	f.setName(b, ap, an)
	f.unref(a)
	f.unref(b)
	f.unref(ap)
	f.unref(bp)
}

// observe compares size and time of modification with what they were.
func (f *FS) observe(n *node, st *Stat) {
	x := n.more()
	if n.is(nodeCacheValid) && (x.mtime != st.Mtime || x.size != st.Size) {
		n.flags &^= nodeCacheValid
	}
	x.mtime, x.size, x.updated = st.Mtime, st.Size, f.now()
}
