//go:build linux

package lowlevel

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

// nodeShards is how many locks the keys of a Nodes are spread over; a power of two.
const nodeShards = 32

// Nodes is a table of the inodes that the kernel knows: it gives out a NodeID in place of a T, finds the T of a key that is
// known already, and counts lookups, so that an inode goes when the kernel has forgotten it. K is what makes two names the
// same inode: device and inode number, or the path.
//
// NodeIDs are never 0, RootID only for the root, and never given out twice while the table lives; so Entry.Generation may
// stay 0. The zero value is empty and ready; it may be used from any goroutine, and must not be copied.
//
// The kernel forgets an inode only when no request for it is under way. A server that works on inodes by itself takes
// a reference with Add, so that the one it works on stays.
type Nodes[K comparable, T any] struct {
	root   atomic.Pointer[node[K, T]]
	n      atomic.Int64
	shards [nodeShards]nodeShard[K, T]
	slots  [slotShards]slots[node[K, T]]
}

type nodeShard[K comparable, T any] struct {
	mu sync.Mutex
	m  map[K]*node[K, T]
	_  [48]byte // a cache line of its own
}

// node is an inode. Its references become 0, and it leaves the map, only under the lock of its shard; so what is in a map
// can be referenced under the lock, and what has references left can be referenced without.
type node[K comparable, T any] struct {
	ino   uint64
	refs  atomic.Uint64
	shard atomic.Uint32 // of key; changes under both locks
	keyed bool          // key leads here; under the shard's lock
	key   K             // under the shard's lock
	v     T
}

var seed = maphash.MakeSeed()

func shardOf[K comparable](key K) uint32 { return uint32(maphash.Comparable(seed, key) % nodeShards) }

func (s *nodeShard[K, T]) put(key K, d *node[K, T]) {
	if s.m == nil {
		s.m = map[K]*node[K, T]{}
	}
	d.key, d.keyed = key, true
	s.m[key] = d
}

// drop takes d off the map.
func (s *nodeShard[K, T]) drop(d *node[K, T]) {
	if d.keyed {
		delete(s.m, d.key)
		d.keyed = false
	}
}

// SetRoot sets the inode that RootID stands for, once. It has no count and never goes, whatever Forget says.
func (t *Nodes[K, T]) SetRoot(key K, v T) {
	i := shardOf(key)
	d := &node[K, T]{ino: uint64(RootID), v: v}
	d.shard.Store(i)
	s := &t.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[key] != nil {
		panic("lowlevel: Nodes.SetRoot: key is known already")
	}
	if !t.root.CompareAndSwap(nil, d) {
		panic("lowlevel: Nodes.SetRoot: there is a root already")
	}
	s.put(key, d)
	t.n.Add(1)
}

// Ref finds the inode of key and adds one to its count. If there is none it is made with a count of one (fresh). make runs
// under a lock of the table: it must not use the table, and had better only build the value. Without make being called
// nothing is allocated. The root is returned without being counted.
func (t *Nodes[K, T]) Ref(key K, make func() T) (ino NodeID, v T, fresh bool) {
	i := shardOf(key)
	s := &t.shards[i]
	s.mu.Lock()
	if d := s.m[key]; d != nil {
		if d.ino != uint64(RootID) {
			d.refs.Add(1)
		}
		s.mu.Unlock()
		return NodeID(d.ino), d.v, false
	}
	defer s.mu.Unlock() // make may panic
	d := &node[K, T]{v: make()}
	d.refs.Store(1)
	d.shard.Store(i)
	place := i % slotShards
	var slot *atomic.Pointer[node[K, T]]
	d.ino, slot = t.slots[place].alloc(place)
	slot.Store(d)
	s.put(key, d)
	t.n.Add(1)
	return NodeID(d.ino), d.v, true
}

func (t *Nodes[K, T]) find(ino NodeID) *node[K, T] {
	if ino == RootID {
		return t.root.Load()
	}
	slot := t.slots[uint64(ino)%slotShards].slot(uint64(ino))
	if slot == nil {
		return nil
	}
	if d := slot.Load(); d != nil && d.ino == uint64(ino) {
		return d
	}
	return nil
}

// Get returns the inode's value. It takes no lock and allocates nothing.
func (t *Nodes[K, T]) Get(ino NodeID) (v T, ok bool) {
	if d := t.find(ino); d != nil {
		return d.v, true
	}
	return v, false
}

// Find returns the inode of key without counting: good for what is over before the kernel can forget it, such as a
// notification that the name is gone.
func (t *Nodes[K, T]) Find(key K) (ino NodeID, v T, ok bool) {
	s := &t.shards[shardOf(key)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.m[key]; d != nil {
		return NodeID(d.ino), d.v, true
	}
	return 0, v, false
}

// Add adds n to the inode's count: for a directory listing that names it more than once, or for a reference of the server's
// own. It reports whether the inode is known; one whose count has reached zero is not.
func (t *Nodes[K, T]) Add(ino NodeID, n uint64) bool {
	d := t.find(ino)
	if d == nil {
		return false
	}
	if ino == RootID {
		return true
	}
	for {
		have := d.refs.Load()
		if have == 0 {
			return false
		}
		if d.refs.CompareAndSwap(have, have+n) {
			return true
		}
	}
}

// Unref takes off one reference, see Forget.
func (t *Nodes[K, T]) Unref(ino NodeID) (v T, dead bool) { return t.Forget(ino, 1) }

// Forget takes n off the inode's count and returns its value. At zero the inode is removed: dead is true for exactly one
// caller, who may then give back what the value holds. More than the count counts as all of it. An inode that is not known,
// and the root, are never dead.
func (t *Nodes[K, T]) Forget(ino NodeID, n uint64) (v T, dead bool) {
	d := t.find(ino)
	if d == nil {
		return v, false
	}
	if ino == RootID {
		return d.v, false
	}
	for {
		have := d.refs.Load()
		if have <= n {
			break
		}
		if d.refs.CompareAndSwap(have, have-n) {
			return d.v, false
		}
	}
	s := t.lock(d)
	defer s.mu.Unlock()
	for {
		have := d.refs.Load()
		if have == 0 { // another one was quicker
			return v, false
		}
		if d.refs.CompareAndSwap(have, have-min(n, have)) {
			if have > n {
				return d.v, false
			}
			break
		}
	}
	s.drop(d)
	t.n.Add(-1)
	place := &t.slots[d.ino%slotShards]
	place.slot(d.ino).Store(nil)
	place.release(d.ino)
	return d.v, true
}

// lock locks the shard of d.
func (t *Nodes[K, T]) lock(d *node[K, T]) *nodeShard[K, T] {
	for {
		i := d.shard.Load()
		s := &t.shards[i]
		s.mu.Lock()
		if d.shard.Load() == i {
			return s
		}
		s.mu.Unlock()
	}
}

// Count is the inode's count: 0 if it is not known, and for the root.
func (t *Nodes[K, T]) Count(ino NodeID) uint64 {
	if d := t.find(ino); d != nil {
		return d.refs.Load()
	}
	return 0
}

// Rekey makes key lead to the inode in place of the key it had: a rename, in tables by path. An inode that had that key
// is unlinked as by Unkey. It reports whether the inode is known.
func (t *Nodes[K, T]) Rekey(ino NodeID, key K) bool {
	d := t.find(ino)
	if d == nil {
		return false
	}
	to := shardOf(key)
	for {
		from := d.shard.Load()
		t.shards[min(from, to)].mu.Lock()
		if from != to {
			t.shards[max(from, to)].mu.Lock()
		}
		ok, again := false, d.shard.Load() != from
		if !again && (ino == RootID || d.refs.Load() > 0) {
			t.shards[from].drop(d)
			s := &t.shards[to]
			if old := s.m[key]; old != nil {
				s.drop(old)
			}
			d.shard.Store(to)
			s.put(key, d)
			ok = true
		}
		if from != to {
			t.shards[max(from, to)].mu.Unlock()
		}
		t.shards[min(from, to)].mu.Unlock()
		if !again {
			return ok
		}
	}
}

// Unkey makes the inode's key lead nowhere, so that the next Ref of it makes a fresh inode: an unlink, in tables by path.
// The inode stays known by its NodeID until it is forgotten. It reports whether the inode is known.
func (t *Nodes[K, T]) Unkey(ino NodeID) bool {
	d := t.find(ino)
	if d == nil {
		return false
	}
	s := t.lock(d)
	defer s.mu.Unlock()
	if ino != RootID && d.refs.Load() == 0 {
		return false
	}
	s.drop(d)
	return true
}

// Key is the key that leads to the inode; false if none does.
func (t *Nodes[K, T]) Key(ino NodeID) (key K, ok bool) {
	d := t.find(ino)
	if d == nil {
		return key, false
	}
	s := t.lock(d)
	defer s.mu.Unlock()
	if !d.keyed {
		return key, false
	}
	return d.key, true
}

// Len is how many inodes are known, the root included.
func (t *Nodes[K, T]) Len() int { return int(t.n.Load()) }

// All lists the inodes, the root first, the others in no order: at the end of a session, for what the kernel did not forget
// one by one. The table may be used meanwhile; what comes or goes then may be listed or not.
func (t *Nodes[K, T]) All() iter.Seq2[NodeID, T] {
	return func(yield func(NodeID, T) bool) {
		if d := t.root.Load(); d != nil && !yield(RootID, d.v) {
			return
		}
		for i := range t.slots {
			if !t.slots[i].each(func(d *node[K, T]) bool { return yield(NodeID(d.ino), d.v) }) {
				return
			}
		}
	}
}
