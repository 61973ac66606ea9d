//go:build linux

package lowlevel

import (
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	slotShards = 8  // tables take their slots from these in turn
	firstSlots = 64 // size of a shard's first chunk; each further one is as large as all before it
	slotChunks = 24 // 2^29 slots a shard: what the low half of an id can name
)

// slots maps ids to entries. An id is a slot's place in its low half and how often the slot was given out in its high half,
// so it is at least 2^32, and no id is given out twice: a slot that has used up its generations is not used again. Looking
// an id up takes no lock: an entry is never changed once it is in its slot.
type slots[E any] struct {
	mu     sync.Mutex
	free   []uint64 // the ids that free slots get next
	n      uint32   // slots that were ever used
	chunks [slotChunks]atomic.Pointer[[]atomic.Pointer[E]]
}

const (
	firstID  = 1 << 32
	slotMask = firstID - 1
)

// chunkOf says where slot i is.
func chunkOf(i uint32) (chunk, at uint32) {
	chunk = uint32(bits.Len32(i / firstSlots))
	if chunk == 0 {
		return 0, i
	}
	return chunk, i - firstSlots<<(chunk-1)
}

// slot is the place of an id's slot, nil if there is none.
func (s *slots[E]) slot(id uint64) *atomic.Pointer[E] {
	chunk, at := chunkOf(uint32(id) / slotShards)
	c := s.chunks[chunk].Load()
	if c == nil {
		return nil
	}
	return &(*c)[at]
}

// alloc gives out an id of shard number shard, and its slot, which is empty.
func (s *slots[E]) alloc(shard uint32) (uint64, *atomic.Pointer[E]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		id := s.free[n-1]
		s.free = s.free[:n-1]
		return id, s.slot(id)
	}
	i := s.n
	if i > slotMask/slotShards {
		panic("lowlevel: table is full")
	}
	s.n++
	chunk, at := chunkOf(i)
	if at == 0 {
		c := make([]atomic.Pointer[E], firstSlots<<max(int(chunk)-1, 0))
		s.chunks[chunk].Store(&c)
	}
	id := firstID | uint64(i)*slotShards | uint64(shard)
	return id, s.slot(id)
}

// release takes back an id whose slot was emptied.
func (s *slots[E]) release(id uint64) {
	if id>>32 == slotMask {
		return
	}
	s.mu.Lock()
	s.free = append(s.free, id+firstID)
	s.mu.Unlock()
}

// each calls yield for all entries until it returns false.
func (s *slots[E]) each(yield func(*E) bool) bool {
	for i := range s.chunks {
		c := s.chunks[i].Load()
		if c == nil {
			return true
		}
		for j := range *c {
			if e := (*c)[j].Load(); e != nil && !yield(e) {
				return false
			}
		}
	}
	return true
}

// Handles is a table of open files: it gives out the number that FileInfo.FH carries in place of a T. Numbers are never 0
// and never given out twice, so a stale or made-up one finds nothing rather than somebody else's T. The zero value is empty
// and ready; it may be used from any goroutine, and must not be copied.
type Handles[T any] struct {
	turn   atomic.Uint32
	n      atomic.Int64
	shards [slotShards]slots[handle[T]]
}

type handle[T any] struct {
	fh uint64
	v  T
}

// Put stores v and returns its number. It allocates v's place in the table.
func (h *Handles[T]) Put(v T) uint64 {
	shard := (h.turn.Add(1) - 1) % slotShards
	e := &handle[T]{v: v}
	var slot *atomic.Pointer[handle[T]]
	e.fh, slot = h.shards[shard].alloc(shard)
	h.n.Add(1)
	slot.Store(e)
	return e.fh
}

func (h *Handles[T]) find(fh uint64) (*handle[T], *atomic.Pointer[handle[T]]) {
	slot := h.shards[fh%slotShards].slot(fh)
	if slot == nil {
		return nil, nil
	}
	if e := slot.Load(); e != nil && e.fh == fh {
		return e, slot
	}
	return nil, nil
}

// Get returns what Put stored under fh. It takes no lock and allocates nothing.
func (h *Handles[T]) Get(fh uint64) (v T, ok bool) {
	if e, _ := h.find(fh); e != nil {
		return e.v, true
	}
	return v, false
}

// Take removes fh and returns what was stored under it. Of several at once only one succeeds.
func (h *Handles[T]) Take(fh uint64) (v T, ok bool) {
	e, slot := h.find(fh)
	if e == nil || !slot.CompareAndSwap(e, nil) {
		return v, false
	}
	h.n.Add(-1)
	h.shards[fh%slotShards].release(fh)
	return e.v, true
}

// Len is how many handles there are.
func (h *Handles[T]) Len() int { return int(h.n.Load()) }

// All lists the handles, in no order. The table may be used meanwhile; what is put or taken then may be listed or not.
func (h *Handles[T]) All() iter.Seq2[uint64, T] {
	return func(yield func(uint64, T) bool) {
		for i := range h.shards {
			if !h.shards[i].each(func(e *handle[T]) bool { return yield(e.fh, e.v) }) {
				return
			}
		}
	}
}
