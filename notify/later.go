//go:build linux

package notify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
)

// ErrFull is returned by the queued form when too much waits; its errno is EAGAIN. The notification is not queued.
var ErrFull error = fmt.Errorf("fuse: too many notifications are waiting: %w", syscall.EAGAIN)

// Later returns the form that queues notifications, copies included, and sends them from goroutines of its own, which
// exist only while there is work. It never waits, and so is safe inside any handler, whatever locks the kernel holds for
// the request.
//
// Notifications about the same node (for names: the same directory) are sent in the order in which they were made; between
// nodes there is no order. One that makes no difference because another waits that does the same is merged with it, such
// as the same name twice, or overlapping ranges of a file.
//
// The queue is bounded (Options.Limit, Options.Bytes). When it is full, ErrFull is returned and the kernel keeps what is
// stale: a caller outside of handlers calls Flush and tries again; one inside can only answer its request first.
//
// The queue is emptied by Flush and before an unmount by the session. What the kernel refuses is logged, unless it had
// nothing to forget, and told by the next Flush. Retrieve is the exception in that it waits, for its turn and for the answer.
func (n *Notifier) Later() *Notifier { return &n.c.later }

// Flush waits until all that was queued before is sent, and returns the first error since the last Flush but for ENOENT, or
// the context's cause. It is not for handlers: what is queued may wait for their request.
func (n *Notifier) Flush(ctx context.Context) error { return n.c.q.flush(ctx) }

// Stop ends the use of the notifier: what is queued is dropped, waiting Retrieves return ENOTCONN, as everything does from
// then on. It waits until nothing is being sent any more. The session calls it.
func (n *Notifier) Stop(ctx context.Context) error {
	c := n.c
	c.q.stop()
	c.mu.Lock()
	c.stopped = true
	if c.sending > 0 && c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	quiet := c.quiet
	c.mu.Unlock()
	n.Unanswered()
	if quiet == nil {
		return nil
	}
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxWorkers is how many notifications of the queue the kernel may be busy with. One that waits for a lock, or for dirty
// data to be written, does not hold up all others.
const maxWorkers = 4

// queue is what waits to be sent.
type queue struct {
	c *core

	mu      sync.Mutex
	lanes   map[NodeID]*lane
	first   *lane // with work that no worker is at; the next ones by lane.next
	end     *lane // the last of them
	workers int
	size    int // messages that wait
	bytes   int // of their data
	cur     *batch
	sealed  []*batch // those that a Flush waits for
	err     error    // the first since the last Flush
	closed  bool
}

// lane is the order of one node.
type lane struct {
	node NodeID
	list []*message
	last map[class]*message // of list, those that later ones may be merged with
	next *lane
}

// batch is what was queued between two calls of Flush.
type batch struct {
	n    int // not sent yet
	done chan struct{}
}

func (q *queue) init(c *core) {
	q.c, q.lanes, q.cur = c, make(map[NodeID]*lane), newBatch()
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// add queues m.
func (q *queue) add(m message) error {
	m.keep()
	size := m.dataSize()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return syscall.ENOTCONN
	}
	l := q.lanes[m.node]
	kind, merge := m.mergeable()
	if l != nil && merge {
		if w := l.last[kind]; w != nil && w.absorb(&m) {
			return nil
		}
	}
	if q.size >= q.c.o.Limit || size > 0 && q.bytes > 0 && q.bytes+size > q.c.o.Bytes {
		return ErrFull
	}
	if l == nil {
		l = &lane{node: m.node}
		q.lanes[m.node] = l
		q.push(l)
	}
	l.list = append(l.list, &m)
	if !merge {
		l.last = nil // nothing may be moved before m
	} else {
		if l.last == nil {
			l.last = make(map[class]*message)
		}
		l.last[kind] = &m
	}
	q.size++
	q.bytes += size
	m.batch = q.cur
	m.batch.n++
	if q.workers < maxWorkers && q.first != nil {
		q.workers++
		go q.work()
	}
	return nil
}

// push puts a lane behind those that wait for a worker.
func (q *queue) push(l *lane) {
	if q.first == nil {
		q.first = l
	} else {
		q.end.next = l
	}
	q.end = l
}

// work sends until there is nothing left that another worker is not at.
func (q *queue) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil {
		l := q.first
		q.first, l.next = l.next, nil
		m := l.list[0]
		l.list[0] = nil
		l.list = l.list[1:]
		if kind, ok := m.mergeable(); ok && l.last[kind] == m {
			delete(l.last, kind)
		}
		q.size--
		q.bytes -= m.dataSize()
		q.mu.Unlock()
		err := q.c.send(m)
		if err != nil && m.failed != nil {
			m.failed(err)
		}
		q.mu.Lock()
		if worthTelling(err) && !q.closed {
			if q.err == nil {
				q.err = fmt.Errorf("fuse: queued notification %v for node %d: %w", m.code, m.node, err)
			}
			q.c.o.Logger.Warn("fuse: queued notification failed", "code", m.code, "node", uint64(m.node), "err", err)
		}
		if len(l.list) > 0 {
			q.push(l)
		} else {
			delete(q.lanes, l.node)
		}
		q.finished(m)
	}
	q.workers--
}

// finished counts a message that has left the queue. The caller holds q.mu.
func (q *queue) finished(m *message) {
	b := m.batch
	if b.n--; b.n == 0 && b != q.cur {
		q.sealed = slices.DeleteFunc(q.sealed, func(s *batch) bool { return s == b })
		close(b.done)
	}
}

func (q *queue) flush(ctx context.Context) error {
	q.mu.Lock()
	if q.cur.n > 0 {
		q.sealed = append(q.sealed, q.cur)
		q.cur = newBatch()
	}
	before := slices.Clone(q.sealed)
	q.mu.Unlock()
	for _, b := range before {
		select {
		case <-b.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.err
	q.err = nil
	return err
}

// stop drops what waits.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.lanes {
		for _, m := range l.list {
			q.finished(m)
		}
		l.list, l.last = nil, nil
	}
	for ; q.first != nil; q.first = q.first.next {
		delete(q.lanes, q.first.node)
	}
	q.size, q.bytes = 0, 0
}
