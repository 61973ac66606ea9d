//go:build linux

package session

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
)

func get(t *testing.T, p *bufferPool) *buffer {
	b, err := p.get(false)
	require.NoError(t, err)
	return b
}

func TestBufferPoolReuse(t *testing.T) {
	p := newBufferPool(3*sys.PageSize+1, 0)
	a, b := get(t, p), get(t, p)
	require.Equal(t, 4*sys.PageSize, a.payload())
	require.GreaterOrEqual(t, len(a.request), dataOffset+p.payload())
	require.Same(t, &a.mem[sys.PageSize], &a.request[dataOffset], "write data lies on a page of its own")
	p.put(a)
	p.put(b)
	require.Same(t, b, get(t, p), "the warmest comes first")
	require.Same(t, a, get(t, p))

	p.put(a)
	p.resize(5 * sys.PageSize)
	p.put(b)
	require.Len(t, p.free, 1, "what is too small is not taken back")
	c := get(t, p)
	require.NotSame(t, a, c)
	require.Empty(t, p.free)
	require.Equal(t, 5*sys.PageSize, c.payload())
	p.resize(1)
	require.Equal(t, 5*sys.PageSize, p.payload(), "it never shrinks")
	require.EqualValues(t, 5*sys.PageSize, p.used)
	p.put(c)
	require.Zero(t, p.used)
	d := get(t, p)
	p.close()
	p.put(d)
	require.Empty(t, p.free)
	require.Zero(t, p.used)
}

// At the limit receiving waits until something comes back or the transport stops; replying does not wait.
func TestBufferPoolLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(sys.PageSize, int64(2*sys.PageSize))
		a, b := get(t, p), get(t, p)
		got := make(chan *buffer)
		wait := func() {
			c, err := p.get(true)
			require.NoError(t, err)
			got <- c
		}
		go wait()
		synctest.Wait()
		require.Empty(t, got)
		over := get(t, p)
		p.put(b)
		synctest.Wait()
		select {
		case <-got:
			require.Fail(t, "still over the limit")
		default:
		}
		p.put(a)
		require.Same(t, a, <-got)

		go wait()
		synctest.Wait()
		p.stop()
		more := <-got
		for _, b := range []*buffer{a, over, more} {
			p.put(b)
		}
		require.Zero(t, p.used)
		p.close()
	})
	p := newBufferPool(4*sys.PageSize, 1)
	b, err := p.get(true)
	require.NoError(t, err, "one there is always")
	p.put(b)
	p.close()
}
