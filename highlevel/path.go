//go:build linux

package highlevel

import (
	"math"
	"slices"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
)

const rootID = lowlevel.RootID

// Every node on a path but the root is locked for reading while an operation has the path, and what is removed or renamed is
// locked for writing. treelock counts the readers, is writeLocked, or, when a writer waits for the readers to leave and none
// may come any more, waitOffset plus the readers.
const (
	writeLocked = -1
	waitOffset  = math.MinInt32
)

// want is one path that an operation needs, and holds once it is locked.
type want struct {
	id    NodeID
	name  []byte // of a child of id; nil: the path is that of id
	write bool   // lock the child for writing

	n     *node // id's node, locked up to the root
	w     *node // the child
	aside *node // what was the child before it was hidden, locked as well
}

// waiter is an operation that waits for its paths.
type waiter struct {
	a, b want
	two  bool
	err  syscall.Errno
	done chan struct{}
}

// try locks a path, or nothing. EAGAIN says that somebody holds a part of it, ESTALE that there is no path. The caller holds f.mu.
func (f *FS) try(p *want) syscall.Errno {
	n := f.byID(p.id)
	if n == nil {
		return syscall.ESTALE
	}
	if p.write {
		w := f.child(n, sys.String(p.name))
		switch {
		case w == nil:
			p.w = f.reserve(n, p.name)
		case w.treelock != 0:
			if w.treelock > 0 {
				w.treelock += waitOffset
			}
			return syscall.EAGAIN
		default:
			w.refs++
			w.treelock = writeLocked
			p.w = w
		}
	}
	p.n = n
	for m := n; m != f.root; m = m.parent {
		err := syscall.Errno(0)
		switch {
		case m.name == "":
			err = syscall.ESTALE
		case m.treelock < 0:
			err = syscall.EAGAIN
		}
		if err != 0 {
			f.leave(p, m)
			return err
		}
		m.treelock++
	}
	return 0
}

// reserve locks a name for writing that the kernel has not looked up.
func (f *FS) reserve(parent *node, name []byte) *node {
	w := &node{refs: 1, treelock: writeLocked}
	f.setName(w, parent, string(name))
	return w
}

// leave unlocks a path, up to the node end. The caller holds f.mu.
func (f *FS) leave(p *want, end *node) {
	for _, w := range [...]*node{p.w, p.aside} {
		if w != nil {
			w.treelock = 0
			f.unref(w)
		}
	}
	p.w, p.aside = nil, nil
	for m := p.n; m != end; {
		parent := m.parent // it is there: who takes it away has locked m
		m.treelock--
		if m.treelock == waitOffset {
			m.treelock = 0
		}
		f.reap(m)
		m = parent
	}
	p.n = nil
}

// try2 locks two paths, or nothing.
func (f *FS) try2(a, b *want) syscall.Errno {
	if a.write && b.write {
		if err := f.nested(a, b); err != 0 {
			return err
		}
	}
	if err := f.try(a); err != 0 {
		return err
	}
	second := *b
	if b.write && b.id == a.id && string(b.name) == string(a.name) {
		second.write = false // the same name: it is locked
	}
	err := f.try(&second)
	if err != 0 {
		f.leave(a, f.root)
		return err
	}
	b.n, b.w = second.n, second.w
	return 0
}

// nested refuses a pair of paths of which one goes through what the other one would lock for writing. No kernel asks for that.
func (f *FS) nested(a, b *want) syscall.Errno {
	under := func(p, q *want) bool {
		n, top := f.byID(p.id), f.byID(q.id)
		if n == nil || top == nil {
			return false
		}
		w := f.child(top, sys.String(q.name))
		for ; n != nil && w != nil; n = n.parent {
			if n == w {
				return true
			}
		}
		return false
	}
	switch {
	case under(b, a):
		return syscall.EINVAL
	case under(a, b):
		return syscall.ENOTEMPTY
	}
	return 0
}

// lock locks one path, or two, waiting as long as it takes.
func (f *FS) lock(a, b *want) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err syscall.Errno
	if b == nil {
		err = f.try(a)
	} else {
		err = f.try2(a, b)
	}
	if err != syscall.EAGAIN {
		return err
	}
	if f.debug {
		f.traceQueue("QUEUE", a, b)
	}
	w := &waiter{a: *a, two: b != nil, done: make(chan struct{})}
	w.a.name = slices.Clone(a.name)
	if b != nil {
		w.b = *b
		w.b.name = slices.Clone(b.name)
	}
	f.waiting = append(f.waiting, w)
	f.mu.Unlock()
	<-w.done
	f.mu.Lock()
	if f.debug {
		f.traceQueue("DEQUEUE", a, b)
	}
	a.n, a.w = w.a.n, w.a.w
	if b != nil {
		b.n, b.w = w.b.n, w.b.w
	}
	return w.err
}

// unlock unlocks what lock has locked, and does nothing the second time. The caller holds f.mu.
func (f *FS) unlock(a, b *want) {
	if a.n == nil {
		return
	}
	f.leave(a, f.root)
	if b != nil {
		f.leave(b, f.root)
	}
	f.wake()
}

// wake lets those who wait try again, in the order in which they came.
func (f *FS) wake() {
	if len(f.waiting) == 0 {
		return
	}
	f.waiting = slices.DeleteFunc(f.waiting, func(w *waiter) bool {
		if w.two {
			w.err = f.try2(&w.a, &w.b)
		} else {
			w.err = f.try(&w.a)
		}
		if w.err == syscall.EAGAIN {
			return false
		}
		close(w.done)
		return true
	})
}

// path builds the path of what p has locked, in buf if it is large enough. buf is not used for anything else afterwards.
func (f *FS) path(p *want, buf []byte) string {
	size := 0
	if p.name != nil {
		size = 1 + len(p.name)
	}
	for n := p.n; n != f.root; n = n.parent {
		size += 1 + len(n.name)
	}
	if size == 0 {
		return "/"
	}
	if size > len(buf) {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	at := size
	if p.name != nil {
		at -= copy(buf[at-len(p.name):], p.name) + 1
		buf[at] = '/'
	}
	for n := p.n; n != f.root; n = n.parent {
		at -= copy(buf[at-len(n.name):], n.name) + 1
		buf[at] = '/'
	}
	return sys.String(buf)
}

// pathNow is the path of a node, or of a child of it, without any lock; false if there is none. The caller holds f.mu.
func (f *FS) pathNow(n *node, name []byte) (string, bool) {
	p := want{n: n, name: name}
	for m := n; m != f.root; m = m.parent {
		if m.name == "" {
			return "", false
		}
	}
	return f.path(&p, nil), true
}

func (f *FS) traceQueue(what string, a, b *want) {
	mark := func(p *want) string {
		if p.write {
			return " (w)"
		}
		return ""
	}
	if b != nil {
		f.trace("%s PATHS %d%s %d%s", what, a.id, mark(a), b.id, mark(b))
		return
	}
	f.trace("%s PATH %d%s", what, a.id, mark(a))
}
