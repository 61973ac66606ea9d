//go:build linux

package lowlevel

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHandles(t *testing.T) {
	var h Handles[string]
	_, ok := h.Get(0)
	require.False(t, ok)
	_, ok = h.Take(^uint64(0))
	require.False(t, ok)

	a, b := h.Put("a"), h.Put("b")
	require.NotZero(t, a)
	require.NotEqual(t, a, b)
	v, ok := h.Get(a)
	require.True(t, ok)
	require.Equal(t, "a", v)
	require.Equal(t, 2, h.Len())

	v, ok = h.Take(a)
	require.True(t, ok)
	require.Equal(t, "a", v)
	_, ok = h.Take(a)
	require.False(t, ok)
	_, ok = h.Get(a)
	require.False(t, ok)
	require.Equal(t, map[uint64]string{b: "b"}, maps.Collect(h.All()))
	for range h.All() {
		break
	}
}

// A number that is made up from a live one by any single bit finds nothing, nor does one of a slot's earlier use.
func TestHandlesStale(t *testing.T) {
	var h Handles[int]
	fh := h.Put(1)
	for bit := range 64 {
		_, ok := h.Get(fh ^ 1<<bit)
		require.False(t, ok, "bit %d", bit)
	}
	seen := map[uint64]bool{fh: true}
	h.Take(fh)
	for i := range 1000 {
		next := h.Put(i)
		require.False(t, seen[next])
		seen[next] = true
		_, ok := h.Get(fh)
		require.False(t, ok)
		h.Take(next)
	}
	require.Equal(t, uint32(1), h.shards[0].n, "slots are used again")
}

// A slot whose generations are used up is left alone.
func TestHandlesLastGeneration(t *testing.T) {
	var h Handles[int]
	s := &h.shards[0]
	id, _ := s.alloc(0)
	s.release(id&slotMask | 0xfffffffe<<32)
	last := h.Put(1)
	require.Equal(t, id&slotMask|0xffffffff<<32, last)
	_, ok := h.Take(last)
	require.True(t, ok)
	require.Empty(t, s.free)
	next, _ := s.alloc(0)
	require.NotEqual(t, uint32(id), uint32(next))
}

func TestHandlesModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h Handles[int]
	model := map[uint64]int{}
	var stale, live []uint64
	for i := range 50000 {
		switch r := rnd.IntN(10); {
		case r < 5 || len(live) == 0:
			fh := h.Put(i)
			_, known := model[fh]
			require.False(t, known)
			model[fh] = i
			live = append(live, fh)
		case r < 9:
			k := rnd.IntN(len(live))
			fh := live[k]
			v, ok := h.Take(fh)
			require.True(t, ok)
			require.Equal(t, model[fh], v)
			delete(model, fh)
			live = slices.Delete(live, k, k+1)
			stale = append(stale, fh)
		case len(stale) > 0:
			_, ok := h.Get(stale[rnd.IntN(len(stale))])
			require.False(t, ok)
		}
		require.Equal(t, len(model), h.Len())
		if n := len(live); n > 0 {
			v, ok := h.Get(live[n-1])
			require.True(t, ok)
			require.Equal(t, model[live[n-1]], v)
		}
	}
	require.Equal(t, model, maps.Collect(h.All()))
}

// Handles that are passed between goroutines are taken once each, and never lead to another's value.
func TestHandlesConcurrent(t *testing.T) {
	const workers, rounds = 8, 3000
	var h Handles[*atomic.Uint64]
	var recent [64]atomic.Uint64
	var puts, takes atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(w)))
			for range rounds {
				v := new(atomic.Uint64)
				fh := h.Put(v)
				v.Store(fh)
				puts.Add(1)
				fh = recent[rnd.IntN(len(recent))].Swap(fh)
				for range 3 {
					other := recent[rnd.IntN(len(recent))].Load()
					if v, ok := h.Get(other); ok {
						if got := v.Load(); got != other && got != 1 { // 1: somebody has taken it since
							t.Errorf("%#x leads to the value of %#x", other, got)
						}
					}
				}
				if v, ok := h.Take(fh); ok {
					takes.Add(1)
					if v.Swap(1) != fh {
						t.Errorf("%#x was taken twice or is another's", fh)
					}
				} else if fh != 0 {
					t.Errorf("%#x is lost", fh)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int(puts.Load()-takes.Load()), h.Len())
	for fh, v := range h.All() {
		require.Equal(t, fh, v.Load())
	}
}

func TestChunks(t *testing.T) {
	next := uint32(0)
	for chunk := range uint32(slotChunks) {
		size := uint32(firstSlots)
		if chunk > 0 {
			size <<= chunk - 1
		}
		for _, i := range []uint32{0, size / 2, size - 1} {
			c, at := chunkOf(next + i)
			require.Equal(t, chunk, c)
			require.Equal(t, i, at)
		}
		next += size
	}
	require.EqualValues(t, (slotMask+1)/slotShards, next)
}

func TestHandlesAllocs(t *testing.T) {
	var h Handles[*int]
	fh := h.Put(new(int))
	require.Zero(t, testing.AllocsPerRun(1000, func() { h.Get(fh) }))
	fhs := make([]uint64, 1002)
	for i := range fhs {
		fhs[i] = h.Put(nil)
	}
	for i := range h.shards {
		h.shards[i].free = slices.Grow(h.shards[i].free, 1000)
	}
	i := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() { h.Take(fhs[i]); i++ }))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { h.Take(h.Put(nil)) }), 1.0)
}

func BenchmarkHandlesGet(b *testing.B) {
	b.ReportAllocs()
	var h Handles[*int]
	var fhs [1024]uint64
	for i := range fhs {
		fhs[i] = h.Put(&i)
	}
	i := 0
	for b.Loop() {
		if _, ok := h.Get(fhs[i%len(fhs)]); !ok {
			b.Fatal("lost")
		}
		i++
	}
}

func BenchmarkHandlesPutTake(b *testing.B) {
	b.ReportAllocs()
	var h Handles[*int]
	for b.Loop() {
		h.Take(h.Put(nil))
	}
}

func BenchmarkHandlesParallel(b *testing.B) {
	b.ReportAllocs()
	var h Handles[*int]
	b.RunParallel(func(pb *testing.PB) {
		fh := h.Put(nil)
		for i := 0; pb.Next(); i++ {
			if i%8 == 7 {
				h.Take(fh)
				fh = h.Put(nil)
			}
			h.Get(fh)
		}
	})
}
