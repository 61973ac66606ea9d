//go:build linux

package lowlevel_test

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// A reply that panics must not lose the request.
func TestPanicInsideReply(t *testing.T) {
	k := fusetest.New(t, &lowlevel.Operations{
		Lookup:  func(r lowlevel.EntryReq, _ lowlevel.NodeID, _ lowlevel.Name) { r.ReplyEntry(nil) },
		Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { r.ReplyAttr(nil, 0) },
		Open:    func(r lowlevel.OpenReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { r.ReplyOpen(nil) },
		Read: func(r lowlevel.DataReq, _ lowlevel.NodeID, size int, _ int64, _ *lowlevel.FileInfo) {
			r.ReplyData(&lowlevel.BufVec{Bufs: []lowlevel.Buf{{IsFD: true, FD: -1, Size: -1 - size}}}, 0)
		},
		Statfs: func(r lowlevel.StatfsReq, _ lowlevel.NodeID) { r.ReplyStatfs(nil) },
	}, nil)
	for _, c := range []struct {
		op  wire.Opcode
		arg int
		pay string
	}{{wire.OpLookup, 0, "x\x00"}, {wire.OpGetattr, 16, ""}, {wire.OpOpen, 8, ""}, {wire.OpRead, 40, ""}, {wire.OpStatfs, 0, ""}} {
		_, err := k.Raw(c.op, 1, make([]byte, c.arg), []byte(c.pay))
		require.ErrorIs(t, err, syscall.EIO, c.op)
	}
}

// A handler may end its goroutine. Neither the request nor the worker is lost.
func TestHandlerEndsGoroutine(t *testing.T) {
	k := fusetest.New(t, &lowlevel.Operations{
		Lookup:  func(lowlevel.EntryReq, lowlevel.NodeID, lowlevel.Name) { runtime.Goexit() },
		Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { r.ReplyErr(syscall.EPERM) },
	}, &lowlevel.Config{Workers: 1})
	for range 20 {
		_, err := k.Raw(wire.OpLookup, 1, nil, []byte("x\x00"))
		require.ErrorIs(t, err, syscall.EIO)
		_, err = k.Raw(wire.OpGetattr, 1, make([]byte, 16), nil)
		require.ErrorIs(t, err, syscall.EPERM)
	}
}
