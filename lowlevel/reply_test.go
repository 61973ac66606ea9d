//go:build linux

package lowlevel_test

import (
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
