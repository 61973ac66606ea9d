//go:build linux

package highlevel

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// feed is a connection that delivers INIT, some requests once, and then the last one again and again, as often as it is told.
type feed struct {
	first [][]byte
	again []byte
	turns chan int
	left  int
	done  chan struct{}
	close sync.Once
	over  chan struct{}
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.first) > 0 {
		msg := f.first[0]
		f.first = f.first[1:]
		return copy(p, msg), nil
	}
	if f.left == 0 {
		select {
		case f.done <- struct{}{}:
		case <-f.over:
			return 0, io.EOF
		}
		select {
		case f.left = <-f.turns:
		case <-f.over:
			return 0, io.EOF
		}
	}
	f.left--
	return copy(p, f.again), nil
}

func (f *feed) Writev(parts [][]byte) (n int, err error) {
	for _, p := range parts {
		n += len(p)
	}
	return n, nil
}

func (f *feed) Close() error {
	f.close.Do(func() { close(f.over) })
	return nil
}

// run has n requests handled.
func (f *feed) run(n int) {
	f.turns <- n
	<-f.done
}

func message(op wire.Opcode, ino uint64, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	h := wire.InHeader{Len: uint32(sys.SizeOf[wire.InHeader]() + len(body)), Opcode: uint32(op), Unique: 2, NodeID: ino, PID: 1}
	return slices.Concat(sys.Bytes(&h), body)
}

type server interface {
	Use(session.Transport) error
	Serve(context.Context) error
	Close() error
}

// feeding serves s with one worker: INIT, first, and then again.
func feeding(tb testing.TB, s server, first [][]byte, again []byte) *feed {
	in := wire.InitIn{Major: wire.KernelMajor, Minor: wire.KernelMinor}
	f := &feed{
		first: append([][]byte{message(wire.OpInit, 0, sys.Bytes(&in))}, first...), again: again,
		turns: make(chan int), done: make(chan struct{}), over: make(chan struct{}),
	}
	require.NoError(tb, s.Use(session.NewCustomTransport(f, nil)))
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	<-f.done
	tb.Cleanup(func() {
		f.Close()
		s.Close()
		<-served
	})
	return f
}

// getattrs are servers that answer a GETATTR of a file some directories deep, and the requests that lead there.
func getattrs(tb testing.TB) map[string]func() *feed {
	get := wire.GetattrIn{}
	m := map[string]func() *feed{"lowlevel": func() *feed {
		var st lowlevel.Stat
		ops := lowlevel.Operations{Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) {
			st.Mode = modeRegular
			r.ReplyAttr(&st, 0)
		}}
		s, err := lowlevel.New(&ops, &lowlevel.Config{Workers: 1})
		require.NoError(tb, err)
		return feeding(tb, s, nil, message(wire.OpGetattr, 1, sys.Bytes(&get)))
	}}
	for _, depth := range []int{1, 4, 16} {
		m[fmt.Sprintf("highlevel-%d", depth)] = func() *feed {
			cfg := Config{}
			cfg.Workers = 1
			f, err := New(&Operations{Getattr: func(_ *Context, _ string, st *Stat, _ *FileInfo) error {
				st.Mode = modeRegular
				return nil
			}}, &cfg, nil)
			require.NoError(tb, err)
			var first [][]byte
			for i := range depth {
				first = append(first, message(wire.OpLookup, uint64(i+1), []byte("name\x00")))
			}
			return feeding(tb, struct {
				*lowlevel.Session
			}{f.s}, first, message(wire.OpGetattr, uint64(depth+1), sys.Bytes(&get)))
		}
	}
	return m
}

func BenchmarkGetattr(b *testing.B) {
	for _, name := range []string{"lowlevel", "highlevel-1", "highlevel-4", "highlevel-16"} {
		b.Run(name, func(b *testing.B) {
			f := getattrs(b)[name]()
			f.run(100)
			b.ReportAllocs()
			b.ResetTimer()
			f.run(b.N)
		})
	}
}

// TestGetattrAllocations: the path layer adds one allocation to a GETATTR.
func TestGetattrAllocations(t *testing.T) {
	allocs := func(name string) float64 {
		f := getattrs(t)[name]()
		f.run(100)
		const n = 2000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f.run(n)
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / n
	}
	low := allocs("lowlevel")
	for _, name := range []string{"highlevel-1", "highlevel-4", "highlevel-16"} {
		require.InDelta(t, low+1, allocs(name), 0.1, name)
	}
}
