//go:build linux

package lowlevel

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

type devIno struct{ dev, ino uint64 }

func TestNodes(t *testing.T) {
	var n Nodes[devIno, string]
	_, ok := n.Get(RootID)
	require.False(t, ok)
	n.SetRoot(devIno{1, 2}, "root")
	require.Panics(t, func() { n.SetRoot(devIno{1, 2}, "again") })
	require.Panics(t, func() { n.SetRoot(devIno{1, 3}, "again") })

	ino, v, fresh := n.Ref(devIno{1, 2}, func() string { panic("is known") })
	require.Equal(t, RootID, ino)
	require.Equal(t, "root", v)
	require.False(t, fresh)
	v, dead := n.Forget(RootID, 1<<63)
	require.False(t, dead)
	require.Equal(t, "root", v)
	require.True(t, n.Add(RootID, 1))
	require.Zero(t, n.Count(RootID))

	a, v, fresh := n.Ref(devIno{1, 5}, func() string { return "a" })
	require.True(t, fresh)
	require.Equal(t, "a", v)
	require.Greater(t, a, RootID)
	again, v, fresh := n.Ref(devIno{1, 5}, func() string { return "other" })
	require.False(t, fresh)
	require.Equal(t, a, again)
	require.Equal(t, "a", v)
	require.EqualValues(t, 2, n.Count(a))
	require.True(t, n.Add(a, 3))
	found, v, ok := n.Find(devIno{1, 5})
	require.True(t, ok)
	require.Equal(t, a, found)
	require.Equal(t, "a", v)
	_, _, ok = n.Find(devIno{5, 1})
	require.False(t, ok)

	v, dead = n.Forget(a, 4)
	require.False(t, dead)
	require.Equal(t, "a", v)
	require.Equal(t, map[NodeID]string{RootID: "root", a: "a"}, maps.Collect(n.All()))
	require.Equal(t, 2, n.Len())
	v, dead = n.Unref(a)
	require.True(t, dead)
	require.Equal(t, "a", v)
	for _, gone := range []NodeID{0, a, a + 1, a + 1<<32, ^NodeID(0)} {
		_, ok = n.Get(gone)
		require.False(t, ok)
		_, dead = n.Forget(gone, 1)
		require.False(t, dead)
		require.False(t, n.Add(gone, 1))
		require.False(t, n.Rekey(gone, devIno{}))
		require.False(t, n.Unkey(gone))
		require.Zero(t, n.Count(gone))
		_, ok = n.Key(gone)
		require.False(t, ok)
	}

	b, _, fresh := n.Ref(devIno{1, 5}, func() string { return "b" })
	require.True(t, fresh)
	require.NotEqual(t, a, b)
	v, dead = n.Forget(b, 100)
	require.True(t, dead, "more than the count")
	require.Equal(t, "b", v)
	require.Equal(t, 1, n.Len())
	for range n.All() {
		break
	}
}

// What make does to the caller does not hurt the table.
func TestNodesMakePanics(t *testing.T) {
	var n Nodes[string, int]
	require.PanicsWithValue(t, "no", func() { n.Ref("x", func() int { panic("no") }) })
	require.Zero(t, n.Len())
	_, v, fresh := n.Ref("x", func() int { return 3 })
	require.True(t, fresh)
	require.Equal(t, 3, v)
}

func TestNodesByPath(t *testing.T) {
	var n Nodes[string, string]
	mk := func(s string) func() string { return func() string { return s } }
	n.SetRoot("/", "root")
	a, _, _ := n.Ref("/a", mk("a"))
	b, _, _ := n.Ref("/b", mk("b"))

	require.True(t, n.Rekey(a, "/b"), "rename over another")
	key, ok := n.Key(a)
	require.True(t, ok)
	require.Equal(t, "/b", key)
	_, ok = n.Key(b)
	require.False(t, ok)
	_, _, ok = n.Find("/a")
	require.False(t, ok)
	ino, _, fresh := n.Ref("/b", mk("new"))
	require.Equal(t, a, ino)
	require.False(t, fresh)
	v, ok := n.Get(b)
	require.True(t, ok, "unlinked, but the kernel still knows it")
	require.Equal(t, "b", v)

	require.True(t, n.Rekey(a, "/b"), "onto itself")
	require.True(t, n.Unkey(a))
	require.True(t, n.Unkey(a), "again")
	c, _, fresh := n.Ref("/b", mk("c"))
	require.True(t, fresh)
	require.True(t, n.Rekey(b, "/back"), "an unlinked one gets a name again")
	_, dead := n.Forget(a, 2)
	require.True(t, dead)
	found, _, ok := n.Find("/b")
	require.True(t, ok, "the death of an unlinked inode leaves its successor alone")
	require.Equal(t, c, found)
	_, dead = n.Forget(b, 1)
	require.True(t, dead)
	_, _, ok = n.Find("/back")
	require.False(t, ok)
	require.True(t, n.Rekey(RootID, "/newroot"))
	require.True(t, n.Unkey(RootID))
	require.Equal(t, 2, n.Len())
}

// nodeModel is Nodes without cleverness.
type nodeModel struct {
	keys map[string]NodeID
	refs map[NodeID]uint64
	vals map[NodeID]int
}

func (m *nodeModel) unkey(ino NodeID) {
	maps.DeleteFunc(m.keys, func(_ string, i NodeID) bool { return i == ino })
}

func TestNodesModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var n Nodes[string, int]
	m := nodeModel{map[string]NodeID{}, map[NodeID]uint64{}, map[NodeID]int{}}
	ever := []NodeID{0, RootID}
	known := map[NodeID]bool{}
	key := func() string { return strconv.Itoa(rnd.IntN(200)) }
	for i := range 60000 {
		ino := ever[len(ever)-1-rnd.IntN(min(len(ever), 300))]
		has := m.refs[ino] > 0
		switch rnd.IntN(9) {
		case 0, 1, 2:
			k := key()
			old, ok := m.keys[k]
			ino, v, fresh := n.Ref(k, func() int { return i })
			require.Equal(t, !ok, fresh)
			if ok {
				require.Equal(t, old, ino)
				require.Equal(t, m.vals[ino], v)
			} else {
				require.Equal(t, i, v)
				require.False(t, known[ino], "%#x is given out again", ino)
				require.Greater(t, ino, RootID)
				known[ino] = true
				ever = append(ever, ino)
				m.keys[k], m.vals[ino] = ino, i
			}
			m.refs[ino]++
		case 3, 4:
			c := uint64(rnd.IntN(4))
			v, dead := n.Forget(ino, c)
			require.Equal(t, has && m.refs[ino] <= c, dead)
			if has {
				require.Equal(t, m.vals[ino], v)
				m.refs[ino] -= min(c, m.refs[ino])
			}
			if dead {
				m.unkey(ino)
				delete(m.refs, ino)
				delete(m.vals, ino)
			}
		case 5:
			require.Equal(t, has, n.Add(ino, 2))
			if has {
				m.refs[ino] += 2
			}
		case 6:
			v, ok := n.Get(ino)
			require.Equal(t, has, ok)
			require.Equal(t, m.vals[ino], v)
			require.Equal(t, m.refs[ino], n.Count(ino))
		case 7:
			k := key()
			require.Equal(t, has, n.Rekey(ino, k))
			if has {
				m.unkey(ino)
				m.keys[k] = ino
			}
		case 8:
			require.Equal(t, has, n.Unkey(ino))
			m.unkey(ino)
		}
		require.Equal(t, len(m.refs), n.Len())
	}
	require.Equal(t, m.vals, maps.Collect(n.All()))
	for k, ino := range m.keys {
		found, _, ok := n.Find(k)
		require.True(t, ok)
		require.Equal(t, ino, found)
	}
}

// Many look up and forget the same few names, as many CPUs in one tree do. Each holds what it was given until it gives it
// back: while a value is held by anybody it is not dead, and each fresh one dies once.
func TestNodesConcurrent(t *testing.T) {
	const workers, rounds, keys = 8, 5000, 5
	type value struct {
		key     int
		holders atomic.Int64
		dead    atomic.Bool
	}
	var n Nodes[int, *value]
	var made, died atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(5, uint64(w)))
			forget := func(ino NodeID, v *value, count int64) {
				v.holders.Add(-count)
				if got, dead := n.Forget(ino, uint64(count)); dead {
					died.Add(1)
					if got != v || v.dead.Swap(true) || v.holders.Load() != 0 {
						t.Errorf("%#x: wrong, second or early death", ino)
					}
				}
			}
			type hold struct {
				ino NodeID
				v   *value
			}
			var held []hold
			for range rounds {
				k := rnd.IntN(keys)
				ino, v, fresh := n.Ref(k, func() *value { return &value{key: k} })
				v.holders.Add(1)
				if fresh {
					made.Add(1)
				}
				if v.dead.Load() || v.key != k {
					t.Errorf("%#x: dead or another's", ino)
				}
				if got, ok := n.Get(ino); !ok || got != v {
					t.Errorf("%#x: lost", ino)
				}
				if rnd.IntN(4) == 0 && n.Add(ino, 2) {
					v.holders.Add(2)
					forget(ino, v, 2)
				}
				held = append(held, hold{ino, v})
				for len(held) > rnd.IntN(3) {
					forget(held[0].ino, held[0].v, 1)
					held = held[1:]
				}
			}
			for _, h := range held {
				forget(h.ino, h.v, 1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, made.Load(), died.Load())
	require.Positive(t, died.Load())
	require.Zero(t, n.Len())
}

// Renames, unlinks and lookups of the same paths at once lose no count.
func TestNodesConcurrentRekey(t *testing.T) {
	var n Nodes[string, int]
	var wg sync.WaitGroup
	var made, died atomic.Int64
	for w := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(11, uint64(w)))
			key := func() string { return strconv.Itoa(rnd.IntN(8)) }
			for range 4000 {
				ino, _, fresh := n.Ref(key(), func() int { return w })
				if fresh {
					made.Add(1)
				}
				switch rnd.IntN(3) {
				case 0:
					if !n.Rekey(ino, key()) {
						t.Error("a referenced inode is not known")
					}
				case 1:
					n.Unkey(ino)
				}
				if _, dead := n.Unref(ino); dead {
					died.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, made.Load(), died.Load())
	require.Zero(t, n.Len())
	for i := range n.shards {
		require.Empty(t, n.shards[i].m)
	}
}

func TestNodesAllocs(t *testing.T) {
	var n Nodes[devIno, *int]
	var byPath Nodes[string, *int]
	k := devIno{1, 7}
	ino, _, _ := n.Ref(k, func() *int { return new(int) })
	byPath.Ref("/some/path", func() *int { return new(int) })
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Get(ino) }))
	x := 1
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Ref(k, func() *int { return &x }) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { byPath.Ref("/some/path", func() *int { return &x }) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Unref(ino) }))
}

func BenchmarkNodesGet(b *testing.B) {
	b.ReportAllocs()
	var n Nodes[devIno, *int]
	var inos []NodeID
	for i := range uint64(1024) {
		ino, _, _ := n.Ref(devIno{1, i}, func() *int { return nil })
		inos = append(inos, ino)
	}
	inos = slices.Clip(inos)
	i := 0
	for b.Loop() {
		if _, ok := n.Get(inos[i&1023]); !ok {
			b.Fatal("lost")
		}
		i++
	}
}

func BenchmarkNodesRefForget(b *testing.B) {
	b.ReportAllocs()
	var n Nodes[devIno, *int]
	for i := range uint64(1024) {
		n.Ref(devIno{1, i}, func() *int { return nil })
	}
	i := uint64(0)
	for b.Loop() {
		ino, _, _ := n.Ref(devIno{1, i & 1023}, func() *int { return nil })
		n.Forget(ino, 1)
		i++
	}
}

func BenchmarkNodesFresh(b *testing.B) {
	b.ReportAllocs()
	var n Nodes[devIno, *int]
	i := uint64(0)
	for b.Loop() {
		ino, _, _ := n.Ref(devIno{1, i}, func() *int { return nil })
		n.Forget(ino, 1)
		i++
	}
}

func BenchmarkNodesParallel(b *testing.B) {
	b.ReportAllocs()
	var n Nodes[devIno, *int]
	var turn atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		i := turn.Add(1) << 32
		for pb.Next() {
			ino, _, _ := n.Ref(devIno{1, i & 1023}, func() *int { return nil })
			n.Get(ino)
			n.Forget(ino, 1)
			i++
		}
	})
}
