//go:build linux

package highlevel

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestNodeMemory looks up a million nodes, forgets them, and weighs.
func TestNodeMemory(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	f := noSession(t)
	before := heap()
	f.mu.Lock()
	dir := f.root
	for i := range n {
		if i%1000 == 0 {
			dir = f.lookedUp(f.root, "directory"+strconv.Itoa(i))
		}
		f.lookedUp(dir, fmt.Sprintf("file-%08d", i))
	}
	f.mu.Unlock()
	each := float64(heap()-before) / float64(n)
	t.Logf("%.1f bytes a node", each)
	require.Less(t, each, 140.0, "libfuse takes about 200")
	require.EqualValues(t, n+n/1000+1, f.ids.used)

	last := f.lastID
	for id := NodeID(2); id <= NodeID(last); id++ {
		f.forget(id, 1)
	}
	require.EqualValues(t, 1, f.ids.used)
	require.Equal(t, 1, len(f.ids.segments))
	require.Equal(t, 1, len(f.names.segments))
	left := heap() - before
	t.Logf("%d bytes left", left)
	require.Less(t, left, int64(256<<10))
	runtime.KeepAlive(f)
}

func TestTable(t *testing.T) {
	f := noSession(t)
	var nodes []*node
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range 5000 {
		nodes = append(nodes, f.lookedUp(f.root, strconv.Itoa(i)))
		if i%7 == 0 {
			f.deref(nodes[i/2], nodes[i/2].nlookup)
		}
	}
	for i, n := range nodes {
		if n.nlookup == 0 {
			require.Nil(t, f.byID(n.nodeID()))
			require.Nil(t, f.child(f.root, strconv.Itoa(i)))
			continue
		}
		require.Same(t, n, f.byID(n.nodeID()))
		require.Same(t, n, f.child(f.root, strconv.Itoa(i)))
	}
	for _, n := range slices.Backward(nodes) {
		f.deref(n, n.nlookup)
	}
	require.EqualValues(t, 1, f.ids.used)
	require.Zero(t, f.names.used)
	require.EqualValues(t, 1, f.root.refs)
}

func TestIDs(t *testing.T) {
	f := noSession(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.EqualValues(t, 2, f.lookedUp(f.root, "a").id, "1 is the root's")
	require.EqualValues(t, 3, f.lookedUp(f.root, "b").id)
	require.EqualValues(t, 2, f.lookedUp(f.root, "a").id)
	f.lastID = math.MaxUint32 - 2
	c := f.lookedUp(f.root, "c")
	require.EqualValues(t, math.MaxUint32-1, c.id)
	require.Zero(t, c.gen)
	// 0xffffffff is the number of what has none, 0 stands for nothing, and 1 to 3 are taken.
	d := f.lookedUp(f.root, "d")
	require.EqualValues(t, 4, d.id)
	require.EqualValues(t, 1, d.gen)
}
