//go:build linux

package hloracle

import (
	"slices"
	"strings"

	"github.com/purefuse/purefuse/wire"
)

const rootID = 1

// knode is a node that the library knows, and the kernel as long as it has lookups of it.
type knode struct {
	ref     ref
	id      uint64
	lookups uint64
	opens   int // files; directories count, too, where only the kernel's word is meant
	files   int
	hidden  bool   // to be unlinked with the last release
	parent  *knode // nil: the root, or without a name
	name    string
	mode    uint32
}

type nameKey struct {
	parent uint64
	name   string
}

// khandle is an open file or directory.
type khandle struct {
	serial uint32
	node   *knode
	fh     [2]uint64 // libfuse's and purefuse's
	dir    bool
	spent  bool     // only to be released
	offs   []uint64 // seen in listings
	list   []entry  // of a directory that is listed whole
	plus   bool     // list was made for READDIRPLUS
	// numbers are the inode numbers of names in the list
	numbers map[string]uint64
}

// kernel is what a kernel, and who looks over libfuse's shoulder, knows of a session.
type kernel struct {
	cfg     *config
	root    *knode
	nodes   map[uint64]*knode
	names   map[nameKey]*knode
	refs    map[ref]*knode
	known   []*knode // with lookups, and the root
	handles []*khandle
	unique  uint64
	gone    bool // DESTROY was sent
}

func newKernel(cfg *config) *kernel {
	k := &kernel{cfg: cfg, nodes: map[uint64]*knode{}, names: map[nameKey]*knode{}, refs: map[ref]*knode{}, unique: 100}
	k.root = &knode{id: rootID, lookups: 1, mode: 0o40755}
	k.nodes[rootID], k.refs[ref{}] = k.root, k.root
	k.known = []*knode{k.root}
	return k
}

func (k *kernel) handle(serial uint32) *khandle {
	for _, h := range k.handles {
		if h.serial == serial {
			return h
		}
	}
	return nil
}

// node is what a request names, if the kernel still may.
func (k *kernel) node(r ref) *knode {
	if n := k.refs[r]; n != nil && n.lookups > 0 {
		return n
	}
	return nil
}

func (k *kernel) child(dir *knode, name string) *knode { return k.names[nameKey{dir.id, name}] }

// under reports whether n is top or below it.
func under(n, top *knode) bool {
	for ; n != nil; n = n.parent {
		if n == top {
			return true
		}
	}
	return false
}

// path is where the library believes a node is.
func (k *kernel) path(n *knode) (string, bool) {
	s := ""
	for ; n != k.root; n = n.parent {
		if n.parent == nil {
			return "", false
		}
		s = "/" + n.name + s
	}
	return s, true
}

// named puts a node under a name.
func (k *kernel) named(n, dir *knode, name string) {
	k.unnamed(n)
	if old := k.child(dir, name); old != nil {
		k.unnamed(old)
	}
	n.parent, n.name = dir, name
	k.names[nameKey{dir.id, name}] = n
}

func (k *kernel) unnamed(n *knode) {
	if n.parent != nil {
		delete(k.names, nameKey{n.parent.id, n.name})
		n.parent, n.name = nil, ""
	}
}

// entry is an answer that brings a node.
func (k *kernel) entry(r ref, dir *knode, name string, id uint64, mode uint32) {
	n := k.nodes[id]
	if n == nil {
		n = &knode{id: id}
		k.nodes[id] = n
	}
	if name != "" {
		k.named(n, dir, name)
	}
	if n.lookups == 0 {
		n.ref = r
		k.known = append(k.known, n)
	}
	n.mode = mode
	n.lookups++
	k.refs[r] = n
}

// deleted is what the library says of a node that nobody needs any more.
func (k *kernel) deleted(id uint64) {
	if n := k.nodes[id]; n != nil {
		k.unnamed(n)
		delete(k.nodes, id)
	}
}

func (k *kernel) forget(n *knode, count uint64) {
	n.lookups -= count
	if n.lookups == 0 {
		k.known = slices.DeleteFunc(k.known, func(m *knode) bool { return m == n })
	}
}

// forgettable is how many of count lookups the kernel could give back.
func (k *kernel) forgettable(n *knode, count uint64) uint64 {
	count = min(count, n.lookups)
	if n == k.root || count == n.lookups && n.opens > 0 {
		return 0
	}
	return count
}

// lockable reports whether libfuse survives that a name is taken away: it insists that the kernel knows what it remembers.
func (k *kernel) lockable(dir *knode, name string) bool {
	n := k.child(dir, name)
	return n == nil || n.lookups > 0 || !k.cfg.remembers()
}

// allowed reports whether a kernel would send the request now; libfuse ends or hangs when it gets others.
func (k *kernel) allowed(r *request, n, n2 *knode, h, h2 *khandle) bool {
	switch r.Op {
	case wire.OpLookup:
		return r.Name != ".." || n != k.root && n.parent != nil
	case wire.OpForget:
		return k.forgettable(n, r.Args[0]) > 0
	case wire.OpUnlink, wire.OpRmdir:
		return k.lockable(n, r.Name)
	case wire.OpRename, wire.OpRename2:
		if n == n2 && r.Name == r.Name2 || !k.lockable(n, r.Name) || !k.lockable(n2, r.Name2) {
			return false
		}
		from, to := k.child(n, r.Name), k.child(n2, r.Name2)
		// A source that nobody has looked up has no dentry.
		return from != nil && !under(n2, from) && (to == nil || !under(n, to))
	case wire.OpGetattr, wire.OpSetattr:
		return r.Handle == 0 || !h.dir
	case wire.OpReaddir:
		return h.dir && !h.spent
	case wire.OpReaddirplus:
		_, ok := k.path(h.node)
		// A whole listing is asked for from its beginning: libfuse and purefuse would number its nodes in different orders.
		return h.dir && !h.spent && ok && (k.cfg.Listing == offsets || r.Args[0] == 0 || h.list != nil)
	case wire.OpReleasedir, wire.OpFsyncdir:
		return h.dir
	case wire.OpIoctl:
		return h.dir == (wire.IoctlFlags(r.Args[0])&wire.IoctlDir != 0)
	case wire.OpCopyFileRange:
		return !h.dir && !h2.dir
	case wire.OpRead, wire.OpWrite, wire.OpRelease, wire.OpFlush, wire.OpFsync, wire.OpGetlk, wire.OpSetlk, wire.OpSetlkw, wire.OpPoll,
		wire.OpFallocate, wire.OpLseek:
		return !h.dir
	}
	return true
}

// byHandle are the requests that are about an open file, of which the node is the handle's.
func byHandle(op wire.Opcode) bool {
	switch op {
	case wire.OpRead, wire.OpWrite, wire.OpRelease, wire.OpFlush, wire.OpFsync, wire.OpGetlk, wire.OpSetlk, wire.OpSetlkw, wire.OpPoll,
		wire.OpFallocate, wire.OpLseek, wire.OpCopyFileRange, wire.OpReaddir, wire.OpReaddirplus, wire.OpReleasedir, wire.OpFsyncdir,
		wire.OpIoctl:
		return true
	}
	return false
}

// resolved is a request with the nodes and handles that it names.
type resolved struct {
	*request
	node, node2     *knode
	handle, handle2 *khandle
	unique          uint64
	batch           []byte // the body of a BATCH_FORGET
}

// resolve finds out what a request means now; false if nothing that a kernel would send.
func (k *kernel) resolve(r *request) (x resolved, ok bool) {
	x = resolved{request: r, node: k.node(r.Node), node2: k.node(r.Node2)}
	if k.gone || x.node == nil || x.node2 == nil {
		return x, false
	}
	if r.Handle != 0 || byHandle(r.Op) {
		if x.handle = k.handle(r.Handle); x.handle == nil {
			return x, false
		}
		x.node = x.handle.node
	}
	if r.Op == wire.OpCopyFileRange {
		if x.handle2 = k.handle(r.Handle2); x.handle2 == nil {
			return x, false
		}
		x.node2 = x.handle2.node
	}
	k.unique += 2
	x.unique = k.unique
	return x, k.allowed(r, x.node, x.node2, x.handle, x.handle2)
}

// update takes over what an answered request has changed. hidden is the name that libfuse has given to the open file that was
// there, "" if it did not.
func (k *kernel) update(x *resolved, ok bool, hidden string) {
	switch x.Op {
	case wire.OpUnlink:
		k.lose(x.node, x.Name, hidden, ok)
	case wire.OpRmdir:
		k.lose(x.node, x.Name, "", ok)
	case wire.OpRename, wire.OpRename2:
		k.rename(x, ok, hidden)
	case wire.OpForget:
		k.forget(x.node, k.forgettable(x.node, x.Args[0]))
	case wire.OpRelease, wire.OpReleasedir:
		k.handles = slices.DeleteFunc(k.handles, func(h *khandle) bool { return h == x.handle })
		x.node.opens--
		if !x.handle.dir {
			x.node.files--
		}
	case wire.OpDestroy:
		k.gone = true
	}
}

// lose is what happens to a name that was removed.
func (k *kernel) lose(dir *knode, name, hidden string, ok bool) {
	n := k.child(dir, name)
	switch {
	case n == nil:
	case hidden != "":
		k.named(n, dir, hidden)
		n.hidden = true
	case ok:
		k.unnamed(n)
	}
}

func (k *kernel) rename(x *resolved, ok bool, hidden string) {
	k.lose(x.node2, x.Name2, hidden, false)
	if !ok {
		return
	}
	from, to := k.child(x.node, x.Name), k.child(x.node2, x.Name2)
	if from == nil {
		return
	}
	if x.Op == wire.OpRename2 && x.Args[0]&2 != 0 {
		k.unnamed(from)
		if to != nil {
			k.named(to, x.node, x.Name)
		}
	} else if to != nil {
		k.unnamed(to)
	}
	k.named(from, x.node2, x.Name2)
}

// opened adds a handle.
func (k *kernel) opened(serial uint32, n *knode, dir bool, fh [2]uint64) {
	k.handles = append(k.handles, &khandle{serial: serial, node: n, dir: dir, fh: fh})
	n.opens++
	if !dir {
		n.files++
	}
}

// hides reports whether libfuse would hide what has a name before the name goes.
func (k *kernel) hides(dir *knode, name string) bool {
	n := k.child(dir, name)
	return n != nil && n.files > 0 && !k.cfg.is(fHardRemove)
}

// hiddenName is the name that a call gives to a file that it hides.
func hiddenName(c *call, x *resolved) string {
	name := c.path2[strings.LastIndexByte(c.path2, '/')+1:]
	if c.op == opRename && strings.HasPrefix(name, ".fuse_hidden") && name != x.Name2 {
		return name
	}
	return ""
}
