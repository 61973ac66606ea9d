//go:build linux

package notify

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/wire"
)

// fake is a Sender that records. gate, if there is one, is taken from before each message goes out.
type fake struct {
	gate chan struct{}

	mu    sync.Mutex
	state State
	sent  [][]byte
	err   func(msg []byte) error
}

func newFake(minor uint32) *fake {
	return &fake{state: State{Ready: true, Minor: minor, ExpireOnly: minor >= 38, MaxWrite: 1 << 20}}
}

func (f *fake) NotifyState() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *fake) Send(parts ...[]byte) error {
	msg := bytes.Join(parts, nil)
	if f.gate != nil {
		<-f.gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, msg)
	if f.err != nil {
		return f.err(msg)
	}
	return nil
}

func (f *fake) messages() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

func quiet() *Options { return &Options{Logger: slog.New(slog.DiscardHandler)} }

// golden is a message in the little-endian form in which the ABI's test vectors are written.
func golden(t *testing.T, fields ...any) []byte {
	var b []byte
	for _, f := range fields {
		if s, ok := f.(string); ok {
			b = append(b, s...)
			continue
		}
		var err error
		b, err = binary.Append(b, binary.NativeEndian, f)
		require.NoError(t, err)
	}
	return b
}

func TestGoldenBytes(t *testing.T) {
	iomap := func(f *fake) { f.state.Minor = wire.IomapMinor }
	v7 := func(f *fake) { f.state.Minor, f.state.Profile = wire.IomapMinor, wire.IomapV7 }
	u32, u64 := func(n uint32) any { return n }, func(n uint64) any { return n }
	head := func(size, code uint32) []any { return []any{u32(size), u32(code), u64(0)} }
	msg := func(size, code uint32, rest ...any) []any { return append(head(size, code), rest...) }
	read := wire.IomapIO{Offset: 0x1000, Length: 0x2000, Addr: 0x3000, Type: uint16(wire.IomapTypeMapped), Flags: 4, Dev: 5}
	for _, c := range []struct {
		name string
		with func(*fake)
		do   func(n *Notifier) error
		want []any
	}{
		{"poll", nil, func(n *Notifier) error { return n.Wakeup(7) }, msg(24, 1, u64(7))},
		{"inval inode", nil, func(n *Notifier) error { return n.InvalInode(2, 3, 4) }, msg(40, 2, u64(2), u64(3), u64(4))},
		{"attributes", nil, func(n *Notifier) error { return n.InvalInode(2, -1, 0) }, msg(40, 2, u64(2), int64(-1), u64(0))},
		{"inval entry", nil, func(n *Notifier) error { return n.InvalEntry(1, "name") }, msg(37, 3, u64(1), u32(4), u32(0), "name\x00")},
		{"expire entry", nil, func(n *Notifier) error { return n.ExpireEntry(1, "é") }, msg(35, 3, u64(1), u32(2), u32(1), "é\x00")},
		{"delete", nil, func(n *Notifier) error { return n.Delete(1, 9, "gone") }, msg(45, 6, u64(1), u64(9), u32(4), u32(0), "gone\x00")},
		{"store", nil, func(n *Notifier) error { return n.Store(2, 10, []byte("ab"), nil, []byte("c")) }, msg(43, 4, u64(2), u64(10), u32(3), u32(0), "abc")},
		{"retrieve", nil, func(n *Notifier) error { return n.RequestRetrieve(2, 10, 11, nil) }, msg(48, 5, u64(1), u64(2), u64(10), u32(11), u32(0))},
		{"retrieve over io_uring", func(f *fake) { f.state.URing = true }, func(n *Notifier) error { return n.RequestRetrieve(2, 10, 11, nil) },
			msg(48, 5, u64(1<<62|2), u64(2), u64(10), u32(11), u32(0))},
		{"resend", nil, (*Notifier).Resend, msg(16, 7)},
		{"epoch", nil, (*Notifier).IncEpoch, msg(16, 8)},
		{"prune", nil, func(n *Notifier) error { return n.Prune(5, 6) }, msg(48, 9, u32(2), u32(0), u64(0), u64(5), u64(6))},
		{"device invalidate", iomap, func(n *Notifier) error { return n.DeviceInvalidate(3, 0x1000, 0x200) }, msg(40, 99, u32(3), u32(0), u64(0x1000), u64(0x200))},
		{"upsert", iomap, func(n *Notifier) error { return n.UpsertMappings(2, 20, &read, &read) },
			msg(96, 100, u64(2), u64(20), read, read)},
		{"upsert read", iomap, func(n *Notifier) error { return n.UpsertMappings(2, 20, &read, nil) },
			msg(96, 100, u64(2), u64(20), read, u64(0x1000), u64(0x2000), u64(math.MaxUint64), uint16(65533), uint16(0), u32(0))},
		{"upsert write, older numbers", v7, func(n *Notifier) error { return n.UpsertMappings(2, 20, nil, &read) },
			msg(96, 100, u64(2), u64(20), u64(0x1000), u64(0x2000), u64(math.MaxUint64), uint16(253), uint16(0), u32(0), read)},
		{"inval mappings", iomap, func(n *Notifier) error {
			return n.InvalMappings(2, 20, wire.Range{Offset: 1, Length: 2}, wire.Range{Offset: 3, Length: wire.IomapInvalToEOF})
		}, msg(64, 101, u64(2), u64(20), u64(1), u64(2), u64(3), u64(math.MaxUint64))},
		{"no mappings", iomap, func(n *Notifier) error {
			return errors.Join(n.UpsertMappings(2, 20, nil, nil), n.InvalMappings(2, 20, wire.Range{}, wire.Range{Offset: 3}))
		}, nil},
		{"prune nothing", nil, func(n *Notifier) error { return n.Prune() }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(wire.KernelMinor)
			if c.with != nil {
				c.with(f)
			}
			for _, queued := range []bool{false, true} {
				f.sent = nil
				n := New(f, quiet())
				form := n
				if queued {
					form = n.Later()
				}
				if queued && c.name == "prune" { // one for each node
					continue
				}
				require.NoError(t, c.do(form))
				require.NoError(t, n.Flush(t.Context()))
				if c.want == nil {
					require.Empty(t, f.messages())
					continue
				}
				require.Len(t, f.messages(), 1)
				require.Equal(t, hex.Dump(golden(t, c.want...)), hex.Dump(f.messages()[0]))
			}
		})
	}
}

func TestGates(t *testing.T) {
	calls := map[wire.NotifyCode]func(n *Notifier) error{
		wire.NotifyInvalInode: func(n *Notifier) error { return n.InvalInode(1, 0, 0) },
		wire.NotifyInvalEntry: func(n *Notifier) error { return n.InvalEntry(1, "x") },
		wire.NotifyDelete:     func(n *Notifier) error { return n.Delete(1, 2, "x") },
		wire.NotifyStore:      func(n *Notifier) error { return n.Store(1, 0, []byte("x")) },
		wire.NotifyRetrieve:   func(n *Notifier) error { return n.RequestRetrieve(1, 0, 1, nil) },
		wire.NotifyResend:     (*Notifier).Resend,
		wire.NotifyIncEpoch:   (*Notifier).IncEpoch,
		wire.NotifyPrune:      func(n *Notifier) error { return n.Prune(1) },
	}
	needs := map[wire.NotifyCode]uint32{
		wire.NotifyInvalInode: 12, wire.NotifyInvalEntry: 12, wire.NotifyStore: 15, wire.NotifyRetrieve: 15, wire.NotifyDelete: 18,
		wire.NotifyResend: 40, wire.NotifyIncEpoch: 44, wire.NotifyPrune: 45,
	}
	refused := func(t *testing.T, err error, code wire.NotifyCode, need, have uint32) {
		t.Helper()
		no, ok := errors.AsType[*NotSupportedError](err)
		require.True(t, ok, "%v: %v", code, err)
		require.Equal(t, NotSupportedError{Code: code, Need: need, Have: have}, *no)
		require.ErrorIs(t, err, syscall.ENOSYS)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	for code, do := range calls {
		for _, queued := range []bool{false, true} {
			for _, minor := range []uint32{needs[code] - 1, needs[code], wire.KernelMinor} {
				f := newFake(minor)
				n := New(f, quiet())
				form := n
				if queued {
					form = n.Later()
				}
				err := do(form)
				if minor < needs[code] {
					refused(t, err, code, needs[code], minor)
					refused(t, n.Supports(code), code, needs[code], minor)
				} else {
					require.NoError(t, err)
					require.NoError(t, n.Supports(code))
				}
				require.NoError(t, n.Flush(t.Context()))
				require.Equal(t, minor >= needs[code], len(f.messages()) == 1)
				f.state.Ready = false // before INIT, and after DESTROY
				require.ErrorIs(t, do(form), syscall.ENOTCONN)
				require.ErrorIs(t, n.Supports(code), syscall.ENOTCONN)
				f.state.Ready = true
				require.NoError(t, n.Stop(t.Context()))
				if minor >= needs[code] {
					require.ErrorIs(t, do(form), syscall.ENOTCONN)
				}
			}
		}
	}
	t.Run("expire", func(t *testing.T) {
		f := newFake(37)
		n := New(f, quiet())
		err := n.ExpireEntry(1, "x")
		no, ok := errors.AsType[*NotSupportedError](err)
		require.True(t, ok)
		require.EqualValues(t, 38, no.Need)
		require.Equal(t, "fuse: notification INVAL_ENTRY with EXPIRE_ONLY needs protocol 7.38, this kernel has 7.37", err.Error())
		require.Error(t, n.SupportsExpire())
		f.state.ExpireOnly = true // it can be offered by flag, too
		require.NoError(t, n.ExpireEntry(1, "x"))
	})
	t.Run("poll", func(t *testing.T) { // who has a handle may use it
		f := newFake(9)
		n := New(f, quiet())
		require.NoError(t, n.Wakeup(1))
		refused(t, n.Supports(wire.NotifyPoll), wire.NotifyPoll, 11, 9)
		f.state.Ready = false
		require.ErrorIs(t, n.Wakeup(1), syscall.ENOTCONN)
	})
	t.Run("iomap", func(t *testing.T) {
		for _, minor := range []uint32{46, 98, 100} {
			n := New(newFake(minor), quiet())
			refused(t, n.DeviceInvalidate(1, 0, 1), wire.NotifyIomapBackingInval, wire.IomapMinor, minor)
			refused(t, n.UpsertMappings(1, 1, nil, nil), wire.NotifyIomapUpsertMappings, wire.IomapMinor, minor)
			refused(t, n.InvalMappings(1, 1, wire.Range{}, wire.Range{}), wire.NotifyIomapInvalMappings, wire.IomapMinor, minor)
			_, err := n.DeviceAdd(0, 0)
			refused(t, err, wire.NotifyIomapBackingInval, wire.IomapMinor, minor)
			refused(t, n.DeviceRemove(1), wire.NotifyIomapBackingInval, wire.IomapMinor, minor)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		require.Error(t, New(newFake(46), quiet()).Supports(77))
	})
	t.Run("the kernel's errors", func(t *testing.T) {
		f := newFake(46)
		f.err = func([]byte) error { return syscall.ENOTEMPTY }
		require.Equal(t, syscall.ENOTEMPTY, New(f, quiet()).Delete(1, 2, "x"))
	})
}

// devices is a Sender with block devices.
type devices struct {
	fake
	fd    int
	flags uint32
	id    int
	err   error
}

func (d *devices) AddBacking(fd int, flags uint32) (int, error) {
	d.fd, d.flags = fd, flags
	return d.id, d.err
}

func (d *devices) RemoveBacking(id int) error {
	d.id = id
	return d.err
}

func TestDevices(t *testing.T) {
	d := &devices{id: 4}
	d.state = State{Ready: true, Minor: wire.IomapMinor}
	n := New(d, quiet())
	dev, err := n.DeviceAdd(9, 0x100)
	require.NoError(t, err)
	require.EqualValues(t, 4, dev)
	require.Equal(t, 9, d.fd)
	require.EqualValues(t, 0x101, d.flags)
	_, err = n.DeviceAdd(9, 2)
	require.ErrorIs(t, err, syscall.EINVAL)
	d.id = 0
	_, err = n.DeviceAdd(9, 0)
	require.ErrorIs(t, err, syscall.ERANGE)
	d.err = syscall.EBUSY
	require.ErrorIs(t, n.DeviceRemove(6), syscall.EBUSY)
	require.Equal(t, 6, d.id)
	require.ErrorIs(t, n.DeviceRemove(1<<31), syscall.EINVAL)
	f := newFake(wire.IomapMinor)
	require.ErrorIs(t, New(f, quiet()).DeviceRemove(6), syscall.EOPNOTSUPP)
}

func TestRetrieve(t *testing.T) {
	ask := func(msg []byte) (o wire.NotifyRetrieveOut) {
		_, err := binary.Decode(msg[headSize:], binary.NativeEndian, &o)
		require.NoError(t, err)
		return o
	}
	cached := []byte(strings.Repeat("0123456789abcdef", 1<<12)) // 64 KiB
	// serve has a kernel with that data answer, at most MaxWrite at once.
	serve := func(f *fake, n *Notifier) {
		f.err = func(msg []byte) error {
			o := ask(msg)
			if o.NodeID != 2 {
				return syscall.ENOENT
			}
			most := min(uint64(o.Size), uint64(f.state.MaxWrite), 1<<20-o.Offset%4096)
			data := cached[min(o.Offset, uint64(len(cached))):min(o.Offset+most, uint64(len(cached)))]
			go n.Reply(o.NotifyUnique, data)
			return nil
		}
	}
	for _, queued := range []bool{false, true} {
		f := newFake(46)
		f.state.MaxWrite = 16 << 10
		n := New(f, quiet())
		serve(f, n)
		form := n
		if queued {
			form = n.Later()
		}
		for _, c := range [][2]int{{0, 100}, {0, 64 << 10}, {0, 100 << 10}, {5, 40 << 10}, {60 << 10, 10 << 10}, {70 << 10, 10}, {5, 0}} {
			p := make([]byte, c[1])
			got, err := form.Retrieve(t.Context(), 2, int64(c[0]), p)
			require.NoError(t, err)
			want := cached[min(c[0], len(cached)):min(c[0]+c[1], len(cached))]
			require.Equal(t, string(want), string(p[:got]))
		}
		_, err := form.Retrieve(t.Context(), 3, 0, make([]byte, 1))
		require.ErrorIs(t, err, syscall.ENOENT)
		require.ErrorIs(t, form.RequestRetrieve(2, 0, -1, nil), syscall.EINVAL)
		require.Empty(t, n.c.retrieves)
	}
	t.Run("timeout", func(t *testing.T) {
		f := newFake(46)
		n := New(f, quiet())
		ctx, cancel := context.WithCancelCause(t.Context())
		f.err = func([]byte) error { cancel(errors.New("enough")); return nil }
		p := make([]byte, 4)
		_, err := n.Retrieve(ctx, 2, 0, p)
		require.EqualError(t, err, "enough")
		_, ok := n.Reply(ask(f.sent[0]).NotifyUnique, []byte("late"))
		require.False(t, ok)
		require.Equal(t, make([]byte, 4), p)
	})
	t.Run("cookie", func(t *testing.T) {
		f := newFake(46)
		n := New(f, quiet())
		require.NoError(t, n.RequestRetrieve(2, 0, 10, "first"))
		require.NoError(t, n.RequestRetrieve(2, 0, 10, "second"))
		for i, want := range []string{"first", "second"} {
			unique := ask(f.sent[i]).NotifyUnique
			cookie, ok := n.Reply(unique, nil)
			require.True(t, ok)
			require.Equal(t, want, cookie)
			_, ok = n.Reply(unique, nil)
			require.False(t, ok)
		}
		f.err = func([]byte) error { return syscall.ENOENT }
		require.ErrorIs(t, n.RequestRetrieve(3, 0, 10, "third"), syscall.ENOENT)
		require.Empty(t, n.c.retrieves)
	})
	t.Run("end", func(t *testing.T) {
		f := newFake(46)
		n := New(f, quiet())
		f.err = func([]byte) error { go n.Unanswered(); return nil }
		_, err := n.Retrieve(t.Context(), 2, 0, make([]byte, 4))
		require.ErrorIs(t, err, syscall.ENOTCONN)
		_, err = n.Retrieve(t.Context(), 2, 0, make([]byte, 4))
		require.ErrorIs(t, err, syscall.ENOTCONN)
		require.Len(t, f.sent, 1)
	})
}
