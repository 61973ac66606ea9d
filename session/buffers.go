//go:build linux

package session

import (
	"sync"
	"sync/atomic"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// dataOffset is where the data of a WRITE begins: reading at page - dataOffset puts it on a page of its own.
var dataOffset = sys.SizeOf[wire.InHeader]() + sys.SizeOf[wire.WriteIn]()

// buffer is one receive buffer or large reply room, mapped outside the Go heap.
type buffer struct {
	mem     []byte // the whole mapping
	request []byte // aligned for requests
}

// bufferPool hands out buffers last in, first out, so that the warm ones are used. limit bounds the bytes in use.
type bufferPool struct {
	size    atomic.Int64 // payload bytes of a buffer
	limit   int64        // 0: none
	mu      sync.Mutex
	freed   sync.Cond
	free    []*buffer
	used    int64 // bytes handed out
	stopped bool  // nobody waits any more
	closed  bool
}

func newBufferPool(payload int, limit int64) *bufferPool {
	p := &bufferPool{limit: limit}
	p.size.Store(int64(payload))
	p.freed.L = &p.mu
	return p
}

// resize makes later buffers larger; smaller ones are not taken back into the pool.
func (p *bufferPool) resize(payload int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size.Store(max(p.size.Load(), int64(payload)))
}

func (p *bufferPool) payload() int { return int(p.size.Load()) }

// get returns a buffer. wait says whether it may wait for the limit: receiving does, replying must not.
func (p *bufferPool) get(wait bool) (*buffer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := p.payload()
	pages := (size + sys.PageSize - 1) &^ (sys.PageSize - 1)
	need := int64(pages)
	for wait && p.limit > 0 && p.used > 0 && p.used+need > p.limit && !p.stopped {
		p.freed.Wait()
	}
	for n := len(p.free); n > 0; n = len(p.free) {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		if b.fits(size) {
			p.used += int64(b.payload())
			return b, nil
		}
		sys.Unmap(b.mem)
	}
	mem, err := sys.Map(sys.PageSize + pages)
	if err != nil {
		return nil, err
	}
	b := &buffer{mem: mem, request: mem[sys.PageSize-dataOffset:]}
	p.used += int64(b.payload())
	return b, nil
}

func (b *buffer) payload() int          { return len(b.mem) - sys.PageSize }
func (b *buffer) fits(payload int) bool { return b.payload() >= payload }

// put gives a buffer back.
func (p *bufferPool) put(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= int64(b.payload())
	p.freed.Signal()
	if p.closed || !b.fits(p.payload()) {
		sys.Unmap(b.mem)
		return
	}
	p.free = append(p.free, b)
}

// stop ends all waiting: a buffer is then given out beyond the limit.
func (p *bufferPool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.freed.Broadcast()
}

// close unmaps the free buffers; those in use follow when they come back.
func (p *bufferPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.stopped = true, true
	for _, b := range p.free {
		sys.Unmap(b.mem)
	}
	p.free = nil
	p.freed.Broadcast()
}
