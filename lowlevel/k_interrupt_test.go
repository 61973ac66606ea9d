//go:build linux

package lowlevel_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// held is a file system whose Getattr only hands its requests over.
func held() (*lowlevel.Operations, <-chan lowlevel.AttrReq) {
	ch := make(chan lowlevel.AttrReq, 16)
	return &lowlevel.Operations{
		Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { ch <- r },
		Statfs:  func(r lowlevel.StatfsReq, _ lowlevel.NodeID) { r.ReplyStatfs(&lowlevel.Statfs{}) },
	}, ch
}

func getattr(k *fusetest.Kernel) *fusetest.Call {
	return k.Start(wire.OpGetattr, root, make([]byte, 16), nil)
}

// statfs makes sure that the only worker has dealt with all before it.
func statfs(t *testing.T, k *fusetest.Kernel) {
	t.Helper()
	_, err := k.Statfs(root)
	require.NoError(t, err)
}

// injectInterrupt sends an INTERRUPT for a request that may not have been sent yet.
func injectInterrupt(k *fusetest.Kernel, target uint64) *fusetest.Call {
	h := wire.InHeader{Len: 48, Opcode: uint32(wire.OpInterrupt), Unique: k.Unique()}
	return k.Inject(append(append([]byte(nil), sys.Bytes(&h)...), sys.Bytes(&wire.InterruptIn{Unique: target})...))
}

func TestInterruptOfPendingRequest(t *testing.T) {
	ops, reqs := held()
	k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1})
	c := getattr(k)
	r := <-reqs
	require.False(t, r.Interrupted())
	called := make(chan bool, 1)
	r.OnInterrupt(func() { called <- r.Interrupted() })
	require.True(t, c.Interrupt())
	require.True(t, <-called)
	statfs(t, k)
	for info := range k.Session().InFlight() {
		require.True(t, info.Interrupted)
	}
	// Once interrupted, a function is called at once, by its caller.
	at := false
	r.OnInterrupt(func() { at = true })
	require.True(t, at)
	r.OnInterrupt(nil)
	require.NoError(t, r.ReplyErr(syscall.EINTR))
	_, err := c.Wait()
	require.Equal(t, syscall.EINTR, err)
	r.OnInterrupt(func() { t.Error("called after the reply") })
	require.False(t, c.Interrupt())
}

// TestInterruptFirst has INTERRUPTs come before their requests: each new request takes its own, or else sends back the one that
// waits longest.
func TestInterruptFirst(t *testing.T) {
	ops, reqs := held()
	k := fusetest.Options{Unanswered: true}.New(t, ops, &lowlevel.Config{Workers: 1})
	second := k.Unique() + 12 // of the second request from here
	list := []*fusetest.Call{injectInterrupt(k, 1001), injectInterrupt(k, 1003), injectInterrupt(k, second), injectInterrupt(k, 1005)}
	waiting := func() (left []*fusetest.Call) {
		for _, c := range list {
			select {
			case <-c.Done():
				_, err := c.Wait()
				require.Equal(t, syscall.EAGAIN, err)
			default:
				left = append(left, c)
			}
		}
		return left
	}
	for _, want := range [][]*fusetest.Call{list[1:], list[1:], {list[2], list[3]}, list[2:3], list[2:3]} {
		c := getattr(k)
		r := <-reqs
		require.Equal(t, c.Unique == second, r.Interrupted())
		require.Equal(t, want, waiting())
		require.NoError(t, r.ReplyErr(syscall.EBADF))
		_, err := c.Wait()
		require.Equal(t, syscall.EBADF, err)
	}
}

// TestInterruptMatched sends the target as the next request.
func TestInterruptMatched(t *testing.T) {
	ops, reqs := held()
	k := fusetest.Options{Unanswered: true}.New(t, ops, &lowlevel.Config{Workers: 1})
	next := k.Unique() + 6
	early := injectInterrupt(k, next)
	again := injectInterrupt(k, next) // a second one for the same request is dropped
	c := getattr(k)
	require.Equal(t, next, c.Unique)
	r := <-reqs
	require.True(t, r.Interrupted())
	require.ErrorIs(t, context.Cause(r.Context()), lowlevel.Interrupted)
	require.NoError(t, r.ReplyErr(syscall.EINTR))
	c.Wait()
	statfs(t, k)
	require.ElementsMatch(t, []*fusetest.Call{early, again}, k.Unanswered())
}

// TestInterruptRequeue has a kernel that repeats an interrupt that was sent back, until the request is known.
func TestInterruptRequeue(t *testing.T) {
	ops, reqs := held()
	k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1})
	c := getattr(k)
	require.True(t, c.Interrupt())
	r := <-reqs
	for !r.Interrupted() {
		statfs(t, k)
	}
	require.NoError(t, r.ReplyErr(syscall.EINTR))
	_, err := c.Wait()
	require.Equal(t, syscall.EINTR, err)
}

func TestInterruptModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for mode, want := range map[lowlevel.InterruptMode]time.Duration{lowlevel.InterruptCancel: 0, lowlevel.InterruptGrace: 3 * time.Second} {
			ops, reqs := held()
			k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1, Interrupts: mode, Grace: 3 * time.Second})
			c := getattr(k)
			r := <-reqs
			ctx := r.Context()
			require.Equal(t, ctx, r.Context())
			require.NoError(t, ctx.Err())
			start := time.Now()
			require.True(t, c.Interrupt())
			<-ctx.Done()
			require.Equal(t, want, time.Since(start))
			require.ErrorIs(t, context.Cause(ctx), lowlevel.Interrupted)
			require.NoError(t, r.ReplyErr(syscall.EINTR))
			c.Wait()

			// A request that is answered within its grace has its context end by the reply.
			c = getattr(k)
			r = <-reqs
			ctx = r.Context()
			require.NoError(t, r.ReplyErr(syscall.EIO))
			require.ErrorIs(t, context.Cause(ctx), lowlevel.ErrReplied)
			require.ErrorIs(t, context.Cause(r.Context()), lowlevel.ErrReplied)
			c.Wait()
		}
	})
}

func TestInterruptOff(t *testing.T) {
	ops, reqs := held()
	k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1, Interrupts: lowlevel.InterruptOff})
	c := getattr(k)
	r := <-reqs
	require.True(t, c.Interrupt())
	statfs(t, k)
	require.True(t, k.NoInterrupt())
	require.False(t, r.Interrupted())
	require.NoError(t, r.Context().Err())
	require.NoError(t, r.ReplyErr(0x16))
	_, err := c.Wait()
	require.Equal(t, syscall.EINVAL, err)
}

// TestInterruptFunctionReplies replies from the interrupt function, which runs beside the operation.
func TestInterruptFunctionReplies(t *testing.T) {
	ops, reqs := held()
	k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1})
	c := getattr(k)
	r := <-reqs
	var err error
	r.OnInterrupt(func() { err = r.ReplyErr(syscall.EINTR) })
	require.True(t, c.Interrupt())
	_, werr := c.Wait()
	require.Equal(t, syscall.EINTR, werr)
	statfs(t, k) // the function has returned
	require.NoError(t, err)
	require.ErrorIs(t, r.ReplyErr(0), lowlevel.ErrReplied)
}

// TestInterruptRaces lets interrupts, their functions, contexts and replies meet in every order.
func TestInterruptRaces(t *testing.T) {
	var won, lost atomic.Int64
	var handlers sync.WaitGroup
	ops := &lowlevel.Operations{Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) {
		handlers.Go(func() {
			count := func(err error) {
				if err == nil {
					won.Add(1)
				} else {
					lost.Add(1)
				}
			}
			r.OnInterrupt(func() { count(r.ReplyErr(syscall.EINTR)) })
			select {
			case <-r.Context().Done():
			default:
			}
			count(r.ReplyErr(syscall.EACCES))
		})
	}}
	k := fusetest.New(t, ops, nil)
	const clients, each = 4, 500
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				c := getattr(k)
				<-c.Read()
				c.Interrupt()
				if _, err := c.Wait(); err != syscall.EINTR && err != syscall.EACCES {
					t.Errorf("answer %v", err)
				}
			}
		})
	}
	wg.Wait()
	handlers.Wait()
	require.EqualValues(t, clients*each, won.Load())
	require.GreaterOrEqual(t, won.Load()+lost.Load(), int64(clients*each))
}

// TestContextRacesReply makes a request's context and interrupt function while somebody else replies to it: neither may reach the
// request that has the memory next.
func TestContextRacesReply(t *testing.T) {
	const total = 100_000
	var stale atomic.Int64
	var others sync.WaitGroup
	done := make(chan struct{})
	tr := newStub(1, 1)
	q := tr.queues[0]
	var sent, answered atomic.Uint64
	q.over = func(*stubFrame, *session.Reply) {
		if answered.Add(1) == total {
			close(done)
		}
	}
	q.next = func(f *stubFrame) bool {
		switch n := sent.Add(1); {
		case n == 1:
			f.request(wire.OpInit, n, 0, initBody)
		case n <= total:
			f.request(wire.OpGetattr, n, root, make([]byte, 16))
		default:
			return false
		}
		return true
	}
	var turn atomic.Pointer[lowlevel.AttrReq]
	ended := make(chan struct{})
	others.Go(func() {
		for delay := 0; ; {
			r := turn.Load()
			if r == nil {
				select {
				case <-ended:
					return
				default:
					runtime.Gosched()
					continue
				}
			}
			turn.Store(nil)
			delay = (delay + 7) % 256
			for i := range delay {
				runtime.KeepAlive(i)
			}
			r.ReplyErr(syscall.EPERM)
		}
	})
	ops := &lowlevel.Operations{Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) {
		if r.Unique()%2 == 0 {
			turn.Store(&r)
			for turn.Load() != nil {
				runtime.Gosched()
			}
			r.Context()
			return
		}
		if r.Context().Err() != nil {
			stale.Add(1)
		}
		r.ReplyErr(syscall.EPERM)
	}}
	serve(t, tr, ops, lowlevel.Config{Workers: 1})
	<-done
	close(ended)
	others.Wait()
	require.Zero(t, stale.Load(), "requests that began with the context of another one")
}

// TestOnInterruptOnce sets an interrupt function while the interrupt arrives: it is called exactly once.
func TestOnInterruptOnce(t *testing.T) {
	ops, reqs := held()
	k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1})
	for range 2000 {
		c := getattr(k)
		r := <-reqs
		var calls atomic.Int64
		require.True(t, c.Interrupt())
		for range rand.IntN(20) {
			runtime.Gosched()
		}
		r.OnInterrupt(func() { calls.Add(1) })
		statfs(t, k)
		require.EqualValues(t, 1, calls.Load())
		require.NoError(t, r.ReplyErr(syscall.EINTR))
		c.Wait()
	}
}
