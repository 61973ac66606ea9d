//go:build linux

package fusetest

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// node is an inode that the kernel holds references to.
type node struct {
	lookups    uint64
	generation uint64
	mode       uint32
}

// Entry is what the server says of a name.
type Entry struct {
	NodeID                    lowlevel.NodeID // 0: there is nothing
	Generation                uint64
	EntryTimeout, AttrTimeout time.Duration
	Attr                      wire.Attr
}

func entryOf(body []byte) (e Entry) {
	var o wire.EntryOut
	copy(sys.Bytes(&o), body)
	return Entry{lowlevel.NodeID(o.NodeID), o.Generation, timeout(o.EntryValid, o.EntryValidNsec), timeout(o.AttrValid, o.AttrValidNsec), o.Attr}
}

// timeout takes the protocol's seconds and nanoseconds as the kernel does.
func timeout(sec uint64, nsec uint32) time.Duration {
	d := time.Duration(min(nsec, 1e9-1))
	if sec > uint64((math.MaxInt64-d)/time.Second) {
		return math.MaxInt64
	}
	return time.Duration(sec)*time.Second + d
}

// validAttr is the kernel's check of attributes.
func validAttr(a *wire.Attr) bool {
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFDIR, syscall.S_IFLNK, syscall.S_IFCHR, syscall.S_IFBLK, syscall.S_IFIFO, syscall.S_IFSOCK:
		return a.Size <= math.MaxInt64
	}
	return false
}

// errBadReply is the requester's error for a reply that has the right length and says what cannot be.
var errBadReply error = syscall.EIO

// account checks the entries and attributes in a successful reply, and counts lookups. The caller holds k.mu.
func (k *Kernel) account(c *Call, body []byte) error {
	bad := func(why string) error {
		k.violate("%v: %s", c, why)
		return errBadReply
	}
	switch c.Op {
	case wire.OpLookup:
		e := entryOf(body)
		switch {
		case e.NodeID == 0 && k.minor < 4:
			return bad("a negative entry, which this kernel does not know")
		case e.NodeID == 0:
			return nil
		case !validAttr(&e.Attr):
			return bad("attributes of no kind of file")
		case e.NodeID == lowlevel.RootID:
			return bad("the root was looked up")
		}
		k.count(e.NodeID, e.Generation, e.Attr.Mode)
	case wire.OpSymlink, wire.OpMknod, wire.OpMkdir, wire.OpLink, wire.OpCreate, wire.OpTmpfile:
		e := entryOf(body)
		if e.NodeID <= lowlevel.RootID {
			return bad("no node id for what was made")
		}
		if want := c.fileType(k); !validAttr(&e.Attr) || want != 0 && e.Attr.Mode&syscall.S_IFMT != want {
			return bad("another kind of file was made than was asked for")
		}
		k.count(e.NodeID, e.Generation, e.Attr.Mode)
	case wire.OpGetattr, wire.OpSetattr:
		var o wire.AttrOut
		copy(sys.Bytes(&o), body)
		n := k.nodes[c.NodeID]
		if !validAttr(&o.Attr) || n != nil && n.mode != 0 && (n.mode^o.Attr.Mode)&syscall.S_IFMT != 0 {
			return bad("attributes of no or of another kind of file")
		}
	case wire.OpReaddir:
		for _, err := range wire.Dirents(body) {
			if err != nil && !errors.Is(err, wire.ErrShortRecord) {
				return bad(err.Error())
			}
		}
	case wire.OpReaddirplus:
		for r, err := range wire.Direntpluses(body) {
			if errors.Is(err, wire.ErrShortRecord) {
				break
			}
			if err != nil {
				return bad(err.Error())
			}
			name := string(r.Name)
			if r.Entry.NodeID == 0 || name == "." || name == ".." {
				continue
			}
			if r.Entry.NodeID == uint64(lowlevel.RootID) || !validAttr(&r.Entry.Attr) {
				k.violate("%v: entry %q cannot be linked", c, name)
				k.forget(lowlevel.NodeID(r.Entry.NodeID), 1)
				continue
			}
			k.count(lowlevel.NodeID(r.Entry.NodeID), r.Entry.Generation, r.Entry.Attr.Mode)
		}
	case wire.OpWrite, wire.OpCopyFileRange:
		var o wire.WriteOut
		copy(sys.Bytes(&o), body)
		asked := uint64(argOf[wire.WriteIn](c).Size)
		if c.Op == wire.OpCopyFileRange {
			asked = argOf[wire.CopyFileRangeIn](c).Len
		}
		if uint64(o.Size) > asked {
			return bad("more was written than there was")
		}
	case wire.OpCopyFileRange64:
		var o wire.CopyFileRangeOut
		copy(sys.Bytes(&o), body)
		if o.BytesCopied > argOf[wire.CopyFileRangeIn](c).Len {
			return bad("more was copied than was asked for")
		}
	case wire.OpListxattr:
		if argOf[wire.GetxattrIn](c).Size > 0 && !validNames(body) {
			return bad("not a list of names")
		}
	case wire.OpGetlk:
		var o wire.LKOut
		copy(sys.Bytes(&o), body)
		if o.LK.Type != syscall.F_UNLCK && (o.LK.Start > math.MaxInt64 || o.LK.End > math.MaxInt64 || o.LK.End < o.LK.Start) {
			return bad("a lock that cannot be")
		}
	}
	return nil
}

// validNames reports whether b consists of NUL-terminated, non-empty names.
func validNames(b []byte) bool {
	for len(b) > 0 {
		i := slices.Index(b, 0)
		if i <= 0 {
			return false
		}
		b = b[i+1:]
	}
	return true
}

// fileType is the kind of file that a request makes, 0: the one of the link's target, if that is known.
func (c *Call) fileType(k *Kernel) uint32 {
	switch c.Op {
	case wire.OpSymlink:
		return syscall.S_IFLNK
	case wire.OpMkdir:
		return syscall.S_IFDIR
	case wire.OpCreate, wire.OpTmpfile:
		return syscall.S_IFREG
	case wire.OpMknod:
		if t := argOf[wire.MknodIn](c).Mode & syscall.S_IFMT; t != 0 {
			return t
		}
		return syscall.S_IFREG
	}
	if n := k.nodes[lowlevel.NodeID(argOf[wire.LinkIn](c).OldNodeID)]; n != nil {
		return n.mode & syscall.S_IFMT
	}
	return 0
}

// count adds a lookup. The caller holds k.mu.
func (k *Kernel) count(ino lowlevel.NodeID, generation uint64, mode uint32) {
	n := k.nodes[ino]
	if n == nil {
		n = &node{}
		k.nodes[ino] = n
	}
	n.lookups++
	n.generation, n.mode = generation, mode
}

// forget queues a FORGET. The caller holds k.mu.
func (k *Kernel) forget(ino lowlevel.NodeID, n uint64) *Call {
	k.unique += 2
	return k.submit(k.newCall(wire.OpForget, ino, Caller{}, sys.Bytes(&wire.ForgetIn{NLookup: n}), nil, nil, k.unique))
}

// uncount takes n lookups off ino. The caller holds k.mu.
func (k *Kernel) uncount(ino lowlevel.NodeID, n uint64) {
	have := k.nodes[ino]
	if ino == lowlevel.RootID || have == nil || have.lookups < n {
		k.violate("the test forgets %d lookups of node %d, of which there are fewer", n, ino)
		return
	}
	if have.lookups -= n; have.lookups == 0 {
		delete(k.nodes, ino)
	}
}

// Lookups is how many lookups of a node the server has to remember.
func (k *Kernel) Lookups(ino lowlevel.NodeID) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[ino]; n != nil {
		return n.lookups
	}
	return 0
}

// Nodes lists the nodes that the kernel knows, with the root.
func (k *Kernel) Nodes() []lowlevel.NodeID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.nodes))
}

// Forget gives back n lookups of a node, by FORGET, and returns when the server has dealt with that.
func (k *Kernel) Forget(ino lowlevel.NodeID, n uint64) {
	k.mu.Lock()
	k.uncount(ino, n)
	c := k.forget(ino, n)
	k.mu.Unlock()
	c.Wait()
}

// forgetBatch is how many nodes a BATCH_FORGET of ours has at most.
const forgetBatch = 60

// BatchForget gives back lookups, by BATCH_FORGET or, before minor 16, by a FORGET for each node.
func (k *Kernel) BatchForget(list ...lowlevel.Forget) {
	for chunk := range slices.Chunk(list, forgetBatch) {
		k.mu.Lock()
		var body []byte
		var calls []*Call
		for _, f := range chunk {
			k.uncount(f.NodeID, f.N)
			if k.minor < 16 {
				calls = append(calls, k.forget(f.NodeID, f.N))
			}
			body = append(body, sys.Bytes(&wire.ForgetOne{NodeID: uint64(f.NodeID), NLookup: f.N})...)
		}
		if k.minor >= 16 {
			k.unique += 2
			calls = append(calls, k.submit(k.newCall(wire.OpBatchForget, 0, Caller{}, sys.Bytes(&wire.BatchForgetIn{Count: uint32(len(chunk))}), body, nil, k.unique)))
		}
		k.mu.Unlock()
		for _, c := range calls {
			c.Wait()
		}
	}
}

// ForgetAll gives back every lookup that was counted, as dropping all caches does.
func (k *Kernel) ForgetAll() {
	k.mu.Lock()
	var list []lowlevel.Forget
	for ino, n := range k.nodes {
		if ino != lowlevel.RootID {
			list = append(list, lowlevel.Forget{NodeID: ino, N: n.lookups})
		}
	}
	k.mu.Unlock()
	slices.SortFunc(list, func(a, b lowlevel.Forget) int { return cmp.Compare(a.NodeID, b.NodeID) })
	if len(list) == 1 {
		k.Forget(list[0].NodeID, list[0].N)
		return
	}
	k.BatchForget(list...)
}
