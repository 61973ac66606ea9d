//go:build linux

package highlevel

import "hash/maphash"

// segment is how many buckets are allocated at once.
const segment = 512

// table is a hash table with chains through the nodes that grows and shrinks by one bucket at a time (linear hashing), so
// that no operation has to wait until a million nodes have moved.
type table struct {
	f        *FS
	byName   bool
	segments []*[segment]*node
	size     uint32 // a power of two
	split    uint32 // buckets below it have been split: there are size+split of them
	used     uint32
}

func (t *table) init(f *FS, byName bool) {
	t.f, t.byName = f, byName
	t.segments = []*[segment]*node{new([segment]*node)}
	t.size = segment
}

func hashID(id uint32) uint32 { return id * 2654435761 }

func hashName(f *FS, parent uint32, name string) uint32 {
	h := maphash.String(f.seed, name)
	return uint32(h) ^ uint32(h>>32) ^ hashID(parent)
}

func (t *table) hash(n *node) uint32 {
	if t.byName {
		return hashName(t.f, n.parent.id, n.name)
	}
	return hashID(n.id)
}

func (t *table) next(n *node) **node {
	if t.byName {
		return &n.nameNext
	}
	return &n.idNext
}

func (t *table) bucket(h uint32) **node {
	i := h & (2*t.size - 1)
	if i >= t.size+t.split {
		i -= t.size
	}
	return t.at(i)
}

func (t *table) at(i uint32) **node { return &t.segments[i/segment][i%segment] }

// first is the first node that may have that hash.
func (t *table) first(h uint32) *node { return *t.bucket(h) }

func (t *table) push(b **node, n *node) {
	*t.next(n) = *b
	*b = n
}

func (t *table) insert(n *node) {
	t.push(t.bucket(t.hash(n)), n)
	t.used++
	if t.used > t.size+t.split && t.size < 1<<30 {
		t.grow()
	}
}

// grow splits one bucket.
func (t *table) grow() {
	from, to := t.split, t.size+t.split
	if int(to/segment) == len(t.segments) {
		t.segments = append(t.segments, new([segment]*node))
	}
	t.split++
	b := t.at(from)
	n := *b
	*b = nil
	for n != nil {
		next := *t.next(n)
		t.push(t.bucket(t.hash(n)), n)
		n = next
	}
	if t.split == t.size {
		t.size, t.split = 2*t.size, 0
	}
}

func (t *table) remove(n *node) {
	for p := t.bucket(t.hash(n)); *p != nil; p = t.next(*p) {
		if *p == n {
			*p = *t.next(n)
			*t.next(n) = nil
			t.used--
			break
		}
	}
	for range 8 {
		if count := t.size + t.split; count > segment && t.used < count/4 {
			t.shrink()
		}
	}
}

// shrink merges the last bucket into the one that it was split from.
func (t *table) shrink() {
	if t.split == 0 {
		t.size /= 2
		t.split = t.size
	}
	t.split--
	last := t.size + t.split
	b := t.at(last)
	to := t.at(t.split)
	for n := *b; n != nil; {
		next := *t.next(n)
		t.push(to, n)
		n = next
	}
	*b = nil
	if last%segment == 0 {
		t.segments[last/segment] = nil
		t.segments = t.segments[:last/segment]
		if cap(t.segments) > 64 && len(t.segments) < cap(t.segments)/4 {
			t.segments = append(make([]*[segment]*node, 0, 2*len(t.segments)), t.segments...)
		}
	}
}
