//go:build linux

package notify

import (
	"context"
	"math"
	"os"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

// retrieval is a question about the page cache that has no answer yet.
type retrieval struct {
	cookie any
	dst    []byte // of a caller that waits
	done   chan retrieved
}

type retrieved struct {
	n   int
	err error
}

// end tells a caller that waits, if there is one.
func (r *retrieval) end(n int, err error) {
	if r.done != nil {
		r.done <- retrieved{n, err}
	}
}

// Retrieve reads from the page cache of ino at off into p and returns how many bytes were there: it ends at the first page
// that is not cached, and at the end of the file. It fails with ENOENT if the kernel does not know the inode, and with the
// context's cause if that ends before the kernel has answered; an answer that comes later is dropped.
//
// The answer is a request, for which a worker must be free: a handler of a session with a single worker must not wait for
// it. Since minor 15.
func (n *Notifier) Retrieve(ctx context.Context, ino NodeID, off int64, p []byte) (int, error) {
	st := n.c.s.NotifyState()
	total := 0
	for {
		step := len(p) - total
		// No more than the kernel answers at once, so that less means that there is no more.
		if most := int(min(st.MaxWrite, math.MaxInt32)); most > 0 {
			page := os.Getpagesize()
			if in := int((off + int64(total)) % int64(page)); in < most && most >= page {
				most -= in
			}
			step = min(step, most)
		}
		got, err := n.retrieve(ctx, ino, off+int64(total), p[total:total+step])
		total += got
		if err != nil || got < step || total == len(p) {
			return total, err
		}
	}
}

func (n *Notifier) retrieve(ctx context.Context, ino NodeID, off int64, p []byte) (int, error) {
	r := &retrieval{dst: p, done: make(chan retrieved, 1)}
	unique, err := n.ask(r, ino, off, len(p))
	if err != nil {
		return 0, err
	}
	select {
	case got := <-r.done:
		return got.n, got.err
	case <-ctx.Done():
	}
	if n.c.take(unique) != nil {
		return 0, context.Cause(ctx)
	}
	got := <-r.done // the answer is just being copied
	return got.n, got.err
}

// RequestRetrieve asks for size bytes of the page cache of ino at off; the answer goes to Operations.RetrieveReply of package
// lowlevel with cookie. It does not wait. Since minor 15.
func (n *Notifier) RequestRetrieve(ino NodeID, off int64, size int, cookie any) error {
	_, err := n.ask(&retrieval{cookie: cookie}, ino, off, size)
	return err
}

// ringUnique marks the numbers of retrieves over io_uring, where they share a space with the kernel's own.
const ringUnique = 1 << 62

// ask sends a retrieve and returns its number.
func (n *Notifier) ask(r *retrieval, ino NodeID, off int64, size int) (uint64, error) {
	c := n.c
	if size < 0 || uint64(size) > math.MaxUint32 {
		return 0, syscall.EINVAL
	}
	st := c.s.NotifyState()
	if err := st.supports(wire.NotifyRetrieve); err != nil {
		return 0, err
	}
	unique := c.retrieved.Add(1)
	if st.URing {
		unique = ringUnique | unique<<1
	}
	c.mu.Lock()
	if c.deaf {
		c.mu.Unlock()
		return 0, syscall.ENOTCONN
	}
	c.retrieves[unique] = r
	c.mu.Unlock()
	err := n.do(message{code: wire.NotifyRetrieve, node: ino, off: off, length: int64(size), unique: unique, failed: func(err error) {
		if r := c.take(unique); r != nil {
			r.end(0, err)
		}
	}})
	if err != nil {
		c.take(unique)
	}
	return unique, err
}

// take removes a retrieve that waits for its answer; whoever gets it ends it.
func (c *core) take(unique uint64) *retrieval {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.retrieves[unique]
	delete(c.retrieves, unique)
	return r
}

// Reply takes the answer to a retrieve (NOTIFY_REPLY), which the session has received. ok says that it is one of
// RequestRetrieve, and the file system's to have; another one is not wanted any more.
func (n *Notifier) Reply(unique uint64, data []byte) (cookie any, ok bool) {
	r := n.c.take(unique)
	if r == nil {
		return nil, false
	}
	if r.done != nil {
		r.end(copy(r.dst, data), nil)
		return nil, false
	}
	return r.cookie, true
}

// Unanswered is called by the session when no further request, and so no answer, will come: Retrieve returns ENOTCONN.
func (n *Notifier) Unanswered() {
	c := n.c
	c.mu.Lock()
	c.deaf = true
	waiting := c.retrieves
	c.retrieves = make(map[uint64]*retrieval)
	c.mu.Unlock()
	for _, r := range waiting {
		r.end(0, syscall.ENOTCONN)
	}
}
