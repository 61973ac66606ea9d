//go:build linux

package hloracle

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

var (
	sequences = flag.Uint64("hloracle.n", 10000, "sequences that TestOracle compares")
	firstSeed = flag.Uint64("hloracle.seed", 1, "seed of TestOracle's sequences")
	only      = flag.Int64("hloracle.only", -1, "compare only this sequence")
)

// check plays a generated sequence, and shrinks it if the sides differ.
func (p *pair) check(seed, i uint64, hits map[string]int) (*sequence, error) {
	s, gen := start(seed, i)
	err := p.play(&s, gen, hits)
	var d *mismatch
	if err != nil && !errors.As(err, &d) {
		err = fmt.Errorf("%w\n%s", err, s.describe())
	}
	if d == nil {
		return &s, err
	}
	shrink(s, func(t *sequence) bool {
		var e *mismatch
		if !errors.As(p.play(t, nil, map[string]int{}), &e) {
			return false
		}
		d = e
		return true
	})
	return d.seq, d
}

func TestOracle(t *testing.T) {
	bin, err := build(t.TempDir())
	require.NoError(t, err)
	fds, routines := openFiles(t), runtime.NumGoroutine()
	var (
		counter atomic.Uint64
		failed  atomic.Bool
		wg      sync.WaitGroup
		mu      sync.Mutex
		hits    = map[string]int{}
		opcodes = map[wire.Opcode]int{}
		calls   [opCount]int
		total   int
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			p, err := newPair(bin)
			if err != nil {
				t.Error(err)
				return
			}
			h := map[string]int{}
			for !failed.Load() {
				i := counter.Add(1) - 1
				if i >= *sequences || *only >= 0 && i > 0 {
					break
				}
				if *only >= 0 {
					i = uint64(*only)
				}
				s, err := p.check(*firstSeed, i, h)
				if err != nil {
					failed.Store(true)
					t.Errorf("seed %d sequence %d: %v", *firstSeed, i, err)
				}
				mu.Lock()
				total += len(s.Requests)
				for _, r := range s.Requests {
					opcodes[r.Op]++
				}
				mu.Unlock()
			}
			if err := p.p.Stop(); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for k, n := range h {
				hits[k] += n
			}
			for o, n := range p.calls {
				calls[o] += n
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d requests, calls %v; differences met: %v", total, calls, hits)
	// One more is the condition's own.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= routines+1 }, 5*time.Second, time.Millisecond, "goroutines left")
	require.Equal(t, fds, openFiles(t), "descriptors left")
	if *sequences < 10000 || *only >= 0 {
		return
	}
	require.Empty(t, missing(hits), "rules that nothing needed")
	for o, n := range calls {
		require.NotZero(t, n, "%s was never called", opNames[o])
	}
	for o := wire.OpLookup; o <= wire.OpLseek; o++ {
		switch o {
		case 7, 19, wire.OpInit, wire.OpInterrupt, wire.OpNotifyReply: // no operation of this layer
		default:
			require.NotZero(t, opcodes[o], "no request with opcode %v", o)
		}
	}
}

func openFiles(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(d)
}

// TestRulesAreListed holds the rules against the table that readers see.
func TestRulesAreListed(t *testing.T) {
	listed, err := rig.Listed("hloracle")
	require.NoError(t, err)
	require.Equal(t, ruleNames, listed)
}

// TestUnlistedDifference takes away one rule after the other: each time the difference must be found, made small, and shown
// decoded from both sides.
func TestUnlistedDifference(t *testing.T) {
	bin, err := build(t.TempDir())
	require.NoError(t, err)
	p, err := newPair(bin)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.p.Stop()) }()
	left := maps.Clone(enabled)
	for n := uint64(0); len(left) > 0; n++ {
		require.Less(t, n, uint64(10000), "no sequence needs %v", slices.Sorted(maps.Keys(left)))
		hits := map[string]int{}
		_, err := p.check(3, n, hits)
		require.NoError(t, err)
		for name := range hits {
			if !left[name] {
				continue
			}
			enabled[name] = false
			_, err := p.check(3, n, map[string]int{})
			enabled[name] = true
			if err == nil { // the sides count differently, but nothing came of that
				continue
			}
			delete(left, name)
			var d *mismatch
			require.ErrorAs(t, err, &d)
			require.LessOrEqual(t, len(d.seq.Requests), 12, "%s is not small:\n%v", name, d)
			text := err.Error()
			require.Contains(t, text, "\nlibfuse:\n")
			require.Contains(t, text, "\npurefuse:\n")
		}
	}
}
