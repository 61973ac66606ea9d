//go:build linux

package highlevel

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// weight is what the process occupies, live objects and all pages.
func weight(t *testing.T) (heap, rss int64) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	require.NoError(t, err)
	return int64(m.HeapAlloc), pages * int64(os.Getpagesize())
}

// TestNodeMemory looks up a million nodes, forgets them, and weighs; and has C libfuse look up the same ones.
func TestNodeMemory(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	f := noSession(t)
	heap0, rss0 := weight(t)
	f.mu.Lock()
	dir := f.root
	for i := range n {
		if i%1001 == 0 {
			dir = f.lookedUp(f.root, "directory"+strconv.Itoa(i))
			continue
		}
		f.lookedUp(dir, fmt.Sprintf("file-%08d", i))
	}
	f.mu.Unlock()
	heap1, rss1 := weight(t)
	each, eachRSS := float64(heap1-heap0)/float64(n), float64(rss1-rss0)/float64(n)
	t.Logf("%.1f bytes a node, %.1f of the process", each, eachRSS)
	require.Less(t, each, 140.0)
	require.EqualValues(t, n+1, f.ids.used)

	last := f.lastID
	for id := NodeID(2); id <= NodeID(last); id++ {
		f.forget(id, 1)
	}
	require.EqualValues(t, 1, f.ids.used)
	require.Equal(t, 1, len(f.ids.segments))
	require.Equal(t, 1, len(f.names.segments))
	heap2, rss2 := weight(t)
	t.Logf("%d bytes left, %d of the process", heap2-heap0, rss2-rss0)
	require.Less(t, heap2-heap0, int64(256<<10))
	if !raceDetector && !testing.Short() {
		require.Less(t, rss2-rss0, (rss1-rss0)/4, "the system gets it back")
	}
	runtime.KeepAlive(f)

	t.Run("libfuse", func(t *testing.T) {
		flags, err := exec.Command("pkg-config", "--cflags", "--libs", "fuse3").Output()
		require.NoError(t, err, "install pkg-config and libfuse3-dev")
		program := t.TempDir() + "/nodes"
		args := append([]string{"-O2", "-o", program, "testdata/nodes.c"}, strings.Fields(string(flags))...)
		out, err := exec.Command("cc", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		out, err = exec.Command(program, strconv.Itoa(n)).Output()
		require.NoError(t, err)
		theirs, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		require.NoError(t, err)
		t.Logf("libfuse: %.1f bytes a node of the process", theirs)
		if !raceDetector && !testing.Short() {
			require.Less(t, eachRSS, theirs)
		}
	})
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
	require.Equal(t, uint32(math.MaxUint32-1), c.id)
	require.Zero(t, c.gen)
	// 0xffffffff is the number of what has none, 0 stands for nothing, and 1 to 3 are taken.
	d := f.lookedUp(f.root, "d")
	require.EqualValues(t, 4, d.id)
	require.EqualValues(t, 1, d.gen)
}
