//go:build linux

package highlevel

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
)

// Context says who asks, libfuse's struct fuse_context. It is also a context.Context, which ends when the caller is
// interrupted as Config.Interrupts says, when the request is answered, and with the session. One is made for each request; it
// may be kept.
type Context struct {
	UID, GID uint32 // file-system ids of the caller
	PID      uint32 // its thread id, 0 if it cannot be seen
	Umask    uint32 // of creating requests
	FS       *FS
	Private  any // what Operations.Init of the layer at hand returned

	req  lowlevel.Req
	mu   sync.Mutex
	over bool // req was answered
	ctx  context.Context
}

var ended = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(lowlevel.ErrReplied)
	return ctx
}()

// base is the context of the request.
func (c *Context) base() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx != nil:
	case c.over:
		c.ctx = ended
	case c.req == lowlevel.Req{}:
		c.ctx = context.Background()
	default:
		c.ctx = c.req.Context()
	}
	return c.ctx
}

// end is called before the reply.
func (c *Context) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
}

// Deadline is that of context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.base().Deadline() }

// Done is that of context.Context.
func (c *Context) Done() <-chan struct{} { return c.base().Done() }

// Err is that of context.Context.
func (c *Context) Err() error { return c.base().Err() }

// Value is that of context.Context.
func (c *Context) Value(key any) any { return c.base().Value(key) }

// Interrupted reports whether the caller got a signal, libfuse's fuse_interrupted. It is false once the request was answered.
func (c *Context) Interrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.over && c.req != lowlevel.Req{} && c.req.Interrupted()
}

// Groups are the caller's supplementary groups, libfuse's fuse_getgroups. It fails with EINVAL once the request was answered.
func (c *Context) Groups() ([]uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.req == (lowlevel.Req{}) {
		return nil, syscall.EINVAL
	}
	return c.req.Groups(nil)
}
