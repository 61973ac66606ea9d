//go:build linux

package oracle

import (
	"errors"
	"flag"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

var (
	sequences = flag.Uint64("oracle.n", 20000, "sequences that TestOracle compares")
	firstSeed = flag.Uint64("oracle.seed", 1, "seed of TestOracle's sequences")
	only      = flag.Int64("oracle.only", -1, "compare only this sequence, with both sides' steps in the log")
)

// pair is a C oracle and what its twin needs.
type pair struct {
	bin  string
	c    *rig.Process
	file *os.File
}

func newPair(bin string, file *os.File) (*pair, error) {
	c, err := rig.Start(bin)
	return &pair{bin, c, file}, err
}

// run plays a sequence on both sides.
func (p *pair) run(s *sequence) (c, g *result, err error) {
	c, err = run(p.c, s.Config, s.forC())
	if err != nil {
		// It is gone; the next sequence gets a new one.
		var again error
		p.c, again = rig.Start(p.bin)
		return nil, nil, errors.Join(err, again)
	}
	var m [][]byte
	for i := range s.Requests {
		m = append(m, s.Requests[i].Bytes())
	}
	g, err = serveTwin(p.file, s.Config, m)
	return c, g, err
}

// check compares a sequence and shrinks it if it differs.
func (p *pair) check(s *sequence, hits map[string]int) error {
	c, g, err := p.run(s)
	if err != nil {
		return err
	}
	if d := compare(s, c, g, hits); d == nil {
		return nil
	}
	var last *mismatch
	shrink(*s, func(t *sequence) bool {
		c, g, err := p.run(t)
		if err != nil {
			return false
		}
		d := compare(t, c, g, map[string]int{})
		if d != nil {
			last = d
		}
		return d != nil
	})
	if last == nil {
		return compare(s, c, g, map[string]int{}).err()
	}
	return last.err()
}

func (d *mismatch) err() error { return errors.New(d.Error()) }

func TestOracle(t *testing.T) {
	bin, err := build(t.TempDir())
	require.NoError(t, err)
	file := patternFile(t)
	fds, routines := openFiles(t), runtime.NumGoroutine()

	var (
		counter atomic.Uint64
		failed  atomic.Bool
		wg      sync.WaitGroup
		mu      sync.Mutex
		hits    = map[string]int{}
		opcodes = map[wire.Opcode]int{}
		minors  = map[uint32]int{}
		total   int
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			p, err := newPair(bin, file)
			if err != nil {
				t.Error(err)
				return
			}
			h, o, n, requests := map[string]int{}, map[wire.Opcode]int{}, map[uint32]int{}, 0
			for !failed.Load() {
				i := counter.Add(1) - 1
				if i >= *sequences {
					break
				}
				if *only >= 0 {
					if i > 0 {
						break
					}
					i = uint64(*only)
				}
				s := generate(*firstSeed, i)
				if *only >= 0 {
					p.show(t, &s)
				}
				if err := p.check(&s, h); err != nil {
					failed.Store(true)
					t.Errorf("seed %d sequence %d: %v", *firstSeed, i, err)
				}
				requests += len(s.Requests)
				for _, r := range s.Requests {
					o[r.Opcode]++
					if r.Opcode == wire.OpInit {
						n[u32(r.Body, 4)]++
					}
				}
			}
			if err := p.c.Stop(); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			add(hits, h)
			add(opcodes, o)
			add(minors, n)
			total += requests
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d requests; differences met: %v", total, hits)
	// One more is the condition's own.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= routines+1 }, 5*time.Second, time.Millisecond, "goroutines left")
	require.Equal(t, fds, openFiles(t), "descriptors left")
	if *sequences < 20000 || *only >= 0 {
		return
	}
	require.Empty(t, missing(hits), "rules that nothing needed")
	for op := range wire.Opcode(54) {
		require.NotZero(t, opcodes[op], "no request with opcode %v", op)
	}
	for m := uint32(minMinor); m <= maxMinor; m++ {
		require.NotZero(t, minors[m], "no session with minor %d", m)
	}
}

func add[K comparable](to, from map[K]int) {
	for k, n := range from {
		to[k] += n
	}
}

func (p *pair) show(t *testing.T, s *sequence) {
	t.Logf("%+v", s.Config)
	c, g, err := p.run(s)
	if err != nil {
		t.Log(err)
		return
	}
	for i := range c.Steps {
		if i < len(s.Requests) {
			t.Logf("%d %s", i, s.Requests[i].Describe())
		}
		t.Logf("\tlibfuse  %q %x", c.Steps[i].Lines, c.Steps[i].Replies)
		t.Logf("\tpurefuse %q %x", g.Steps[i].Lines, g.Steps[i].Replies)
	}
}

// patternFile is the file that data replies are cut from.
func patternFile(t *testing.T) *os.File {
	f, err := os.Create(t.TempDir() + "/pattern")
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(pattern(fileSize, filePattern))
	require.NoError(t, err)
	return f
}

func openFiles(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(d)
}

// TestRulesAreListed holds the rules against the table that readers see.
func TestRulesAreListed(t *testing.T) {
	listed, err := rig.Listed("oracle")
	require.NoError(t, err)
	names := map[string]bool{}
	for _, r := range rules {
		names[r.name] = true
	}
	require.Equal(t, slices.Sorted(maps.Keys(names)), listed)
}

// TestShrink makes sure that what the shrinker returns still fails and is small.
func TestShrink(t *testing.T) {
	s := generate(7, 11)
	for len(s.Requests) < 5 {
		s.Requests = append(s.Requests, request{Opcode: wire.OpStatfs})
	}
	s.Requests = append(s.Requests, request{Opcode: wire.OpLookup, UID: 5, Body: []byte("abcdefgh\x00")})
	tries := 0
	got := shrink(s, func(s *sequence) bool {
		tries++
		return slices.ContainsFunc(s.Requests, func(r request) bool { return r.Opcode == wire.OpLookup && len(r.Body) >= 3 && r.Body[1] == 'b' })
	})
	require.Len(t, got.Requests, 1)
	require.Equal(t, []byte{0, 'b', 0}, got.Requests[0].Body)
	require.Zero(t, got.Requests[0].UID)
	require.Less(t, tries, 2000)
}

// TestUnlistedDifference takes away one rule after the other: each time the difference must be found, made small, and shown
// decoded from both sides.
func TestUnlistedDifference(t *testing.T) {
	bin, err := build(t.TempDir())
	require.NoError(t, err)
	p, err := newPair(bin, patternFile(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, p.c.Stop()) }()
	all := rules
	defer func() { rules = all }()

	left := map[string]int{}
	for i, r := range all {
		left[r.name] = i
	}
	for n := uint64(0); len(left) > 0; n++ {
		require.Less(t, n, uint64(5000), "no sequence needs %v", slices.Sorted(maps.Keys(left)))
		s := generate(3, n)
		hits := map[string]int{}
		require.NoError(t, p.check(&s, hits))
		for name := range hits {
			i, ok := left[name]
			if !ok {
				continue
			}
			delete(left, name)
			rules = slices.Delete(slices.Clone(all), i, i+1)
			err := p.check(&s, map[string]int{})
			rules = all
			require.Error(t, err, name)
			text := err.Error()
			require.Contains(t, text, "\nlibfuse:\n")
			require.Contains(t, text, "\npurefuse:\n")
			require.LessOrEqual(t, strings.Count(text, " unique "), 8, "%s is not small:\n%s", name, text)
		}
	}
}
