//go:build linux

package oracle

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// What libfuse got after 3.14 has no oracle here: these tests hold it against what libfuse 3.19 is specified to do.

// golden plays INIT of a 7.46 kernel that offers everything, then the requests, and returns the replies of each.
func golden(t *testing.T, ops *lowlevel.Operations, requests ...request) [][][]byte {
	t.Helper()
	all := append([]request{initOf(wire.KernelMinor, ^wire.InitFlags(0))}, requests...)
	return playRaw(t, ops, nil, all...)
}

func initOf(minor uint32, offered wire.InitFlags) request {
	return request{Opcode: wire.OpInit, Body: pack(&wire.InitIn{Major: 7, Minor: minor, MaxReadahead: 1 << 17,
		Flags: uint32(offered), Flags2: uint32(offered >> 32)})}
}

func playRaw(t *testing.T, ops *lowlevel.Operations, cfg *lowlevel.Config, requests ...request) [][][]byte {
	t.Helper()
	var m [][]byte
	for i := range requests {
		if requests[i].Unique == 0 {
			requests[i].Unique = uint64(2*i + 2)
		}
		m = append(m, requests[i].Bytes())
	}
	if cfg == nil {
		cfg = &lowlevel.Config{}
	}
	cfg.Logger, cfg.Workers = slog.New(slog.DiscardHandler), 1
	p := rig.NewPlayer(each(m))
	s, err := lowlevel.New(ops, cfg)
	require.NoError(t, err)
	require.NoError(t, p.Play(s, s.Use, func(bool) { p.Pad(len(m) + 1) }))
	var out [][][]byte
	for _, s := range p.Steps() {
		out = append(out, s.Replies)
	}
	return out
}

// one is the only reply of a step, without its header, whose error must be code.
func one(t *testing.T, step [][]byte, code int32) []byte {
	t.Helper()
	require.Len(t, step, 1)
	require.Equal(t, len(step[0]), int(u32(step[0], 0)))
	require.Equal(t, code, replyError(step[0]))
	return step[0][16:]
}

const (
	enosys = -38
	eio    = -5
	eproto = -71
	eagain = -11
)

// baseFlags is what an INIT reply carries whatever the file system is.
const baseFlags = wire.InitAsyncRead | wire.InitAtomicOTrunc | wire.InitAutoInvalData | wire.InitAsyncDIO | wire.InitBigWrites |
	wire.InitMaxPages | wire.InitExt

// initReplyOf decodes the answer to INIT.
func initReplyOf(t *testing.T, step [][]byte) (wire.InitOut, wire.InitFlags) {
	t.Helper()
	b := one(t, step, 0)
	require.Len(t, b, 64)
	out := wire.InitOut{Major: u32(b, 0), Minor: u32(b, 4), MaxReadahead: u32(b, 8), Flags: u32(b, 12),
		MaxBackground: uint16(u32(b, 16)), CongestionThreshold: uint16(u32(b, 16) >> 16), MaxWrite: u32(b, 20), TimeGran: u32(b, 24),
		MaxPages: uint16(u32(b, 28)), MapAlignment: uint16(u32(b, 28) >> 16), Flags2: u32(b, 32), MaxStackDepth: u32(b, 36),
		RequestTimeout: uint16(u32(b, 40))}
	require.Equal(t, make([]byte, 22), b[42:], "reserved bytes")
	return out, wire.JoinInitFlags(out.Flags, out.Flags2)
}

func TestInitNothingWanted(t *testing.T) {
	out, flags := initReplyOf(t, golden(t, &lowlevel.Operations{})[0])
	require.Equal(t, baseFlags, flags)
	require.Equal(t, wire.InitOut{Major: 7, Minor: wire.KernelMinor, MaxReadahead: 1 << 17, Flags: uint32(baseFlags), MaxWrite: 1 << 20,
		TimeGran: 1, MaxPages: 256}, out)
}

func TestInitNewerCapabilities(t *testing.T) {
	for c, flag := range map[lowlevel.Cap]wire.InitFlags{
		lowlevel.CapHandleKillpriv:    wire.InitHandleKillpriv,
		lowlevel.CapHandleKillprivV2:  wire.InitHandleKillprivV2,
		lowlevel.CapParallelDirops:    wire.InitParallelDirops,
		lowlevel.CapSetxattrExt:       wire.InitSetxattrExt,
		lowlevel.CapDirectIOAllowMmap: wire.InitDirectIOAllowMmap,
		lowlevel.CapPassthrough:       wire.InitPassthrough,
		lowlevel.CapNoExportSupport:   wire.InitNoExportSupport,
		lowlevel.CapAllowIdmap:        wire.InitAllowIdmap,
		lowlevel.CapSecurityCtx:       wire.InitSecurityCtx,
		lowlevel.CapExpireOnly:        0,
		lowlevel.CapNoOpenSupport:     0,
		lowlevel.CapNoOpendirSupport:  0,
		lowlevel.CapIoctlDir:          0,
	} {
		t.Run(c.String(), func(t *testing.T) {
			var refused error
			ops := &lowlevel.Operations{Init: func(conn *lowlevel.Conn) error {
				refused = conn.Want(c)
				return nil
			}}
			out, flags := initReplyOf(t, golden(t, ops)[0])
			require.NoError(t, refused)
			require.Equal(t, baseFlags|flag, flags)
			require.Equal(t, uint32(bit(c == lowlevel.CapPassthrough)), out.MaxStackDepth)

			if flag == 0 {
				return
			}
			// Not offered: refused, and not sent.
			_, flags = initReplyOf(t, playRaw(t, ops, nil, initOf(wire.KernelMinor, ^flag))[0])
			require.Error(t, refused)
			require.Equal(t, baseFlags, flags)
			if flag>>32 != 0 { // the upper half counts only with INIT_EXT
				_, flags = initReplyOf(t, playRaw(t, ops, nil, initOf(wire.KernelMinor, ^wire.InitExt))[0])
				require.Error(t, refused)
				require.Equal(t, baseFlags&^wire.InitExt, flags)
			}
		})
	}
}

func TestInitRefuses(t *testing.T) {
	var ring, both error
	ops := &lowlevel.Operations{Init: func(c *lowlevel.Conn) error {
		ring = c.Want(lowlevel.CapOverIOUring)
		both = c.Want(lowlevel.CapPassthrough | lowlevel.CapWritebackCache)
		return nil
	}}
	_, flags := initReplyOf(t, golden(t, ops)[0])
	require.Error(t, ring, "a socket has no ring")
	require.Error(t, both)
	require.Equal(t, baseFlags, flags)
}

func TestInitNewerFields(t *testing.T) {
	ops := &lowlevel.Operations{Init: func(c *lowlevel.Conn) error {
		c.MaxStackDepth, c.RequestTimeout = 1, 90*time.Second
		return c.Want(lowlevel.CapPassthrough)
	}}
	out, flags := initReplyOf(t, golden(t, ops)[0])
	require.Equal(t, baseFlags|wire.InitPassthrough|wire.InitRequestTimeout, flags)
	require.EqualValues(t, 2, out.MaxStackDepth)
	require.EqualValues(t, 90, out.RequestTimeout)
}

// TestMaxReadPreset: a file system need not repeat -o max_read in Init, but must not contradict it.
func TestMaxReadPreset(t *testing.T) {
	cfg := &lowlevel.Config{}
	cfg.Mount.MaxRead = 65536
	initReplyOf(t, playRaw(t, &lowlevel.Operations{}, cfg, initOf(46, ^wire.InitFlags(0)))[0])
	initReplyOf(t, playRaw(t, &lowlevel.Operations{Init: func(c *lowlevel.Conn) error {
		require.EqualValues(t, 65536, c.MaxRead)
		return nil
	}}, cfg, initOf(46, ^wire.InitFlags(0)))[0])
}

func TestStatx(t *testing.T) {
	var got string
	st := lowlevel.Statx{Mask: 0xfff, Attributes: 1, AttributesMask: 3, Btime: lowlevel.Time{Sec: 5, Nsec: 6},
		RdevMajor: 7, RdevMinor: 8, DevMajor: 9, DevMinor: 10}
	st.Ino, st.Size, st.Blocks, st.Mode, st.Nlink, st.UID, st.GID, st.Blksize = 1, 2, 3, 0o100644, 4, 5, 6, 4096
	st.Atime, st.Mtime, st.Ctime = lowlevel.Time{Sec: -1, Nsec: 2}, lowlevel.Time{Sec: 3, Nsec: 4}, lowlevel.Time{Sec: 7, Nsec: 8}
	ops := &lowlevel.Operations{Statx: func(r lowlevel.StatxReq, ino lowlevel.NodeID, flags, mask uint32, fi *lowlevel.FileInfo) {
		got += fmt.Sprintln(ino, flags, mask, fi != nil && fi.FH == 77)
		r.ReplyStatx(&st, 1500*time.Millisecond)
	}}
	req := request{Opcode: wire.OpStatx, NodeID: 9, Body: pack(&wire.StatxIn{GetattrFlags: 1, FH: 77, SxFlags: 3, SxMask: 0x7ff})}
	plain := request{Opcode: wire.OpStatx, NodeID: 9, Body: pack(&wire.StatxIn{FH: 77, SxFlags: 3, SxMask: 0x7ff})}
	short := request{Opcode: wire.OpStatx, Body: plain.Body[:23]}
	steps := golden(t, ops, req, plain, short)
	want := pack(&wire.StatxOut{AttrValid: 1, AttrValidNsec: 5e8, Stat: wire.Statx{Mask: 0xfff, Blksize: 4096, Attributes: 1, Nlink: 4, UID: 5,
		GID: 6, Mode: 0o100644, Ino: 1, Size: 2, Blocks: 3, AttributesMask: 3, Atime: wire.SxTime{TvSec: -1, TvNsec: 2},
		Btime: wire.SxTime{TvSec: 5, TvNsec: 6}, Ctime: wire.SxTime{TvSec: 7, TvNsec: 8}, Mtime: wire.SxTime{TvSec: 3, TvNsec: 4},
		RdevMajor: 7, RdevMinor: 8, DevMajor: 9, DevMinor: 10}})
	require.Equal(t, want, one(t, steps[1], 0))
	require.Equal(t, want, one(t, steps[2], 0))
	one(t, steps[3], eio)
	require.Equal(t, "9 3 2047 true\n9 3 2047 false\n", got)
	one(t, golden(t, &lowlevel.Operations{}, req)[1], enosys)
}

func TestSyncfs(t *testing.T) {
	called := lowlevel.NodeID(0)
	ops := &lowlevel.Operations{Syncfs: func(r lowlevel.ErrReq, ino lowlevel.NodeID) {
		called = ino
		r.ReplyOK()
	}}
	req := request{Opcode: wire.OpSyncfs, NodeID: 1, Body: make([]byte, 8)}
	require.Empty(t, one(t, golden(t, ops, req)[1], 0))
	require.Equal(t, lowlevel.RootID, called)
	one(t, golden(t, &lowlevel.Operations{}, req)[1], enosys)
}

func TestTmpfile(t *testing.T) {
	var got []string
	ops := &lowlevel.Operations{Tmpfile: func(r lowlevel.CreateReq, parent lowlevel.NodeID, mode uint32, fi *lowlevel.FileInfo) {
		got = append(got, fmt.Sprintf("%d %o %d %o", parent, mode, fi.Flags, r.Caller().Umask))
		fi.FH, fi.ParallelDirectWrites = 8, true
		r.ReplyCreate(&lowlevel.Entry{NodeID: 5, Generation: 6}, fi)
	}}
	body := pack(&wire.CreateIn{Flags: 2, Mode: 0o600, Umask: 0o22})
	steps := golden(t, ops, request{Opcode: wire.OpTmpfile, NodeID: 3, Body: append(slices.Clone(body), "#1\x00"...)},
		request{Opcode: wire.OpTmpfile, NodeID: 3, Body: body})
	want := append(pack(&wire.EntryOut{NodeID: 5, Generation: 6}), pack(&wire.OpenOut{FH: 8, OpenFlags: uint32(wire.FopenParallelDirectWrites)})...)
	for _, s := range steps[1:3] { // the name is a placeholder
		require.Equal(t, want, one(t, s, 0))
	}
	require.Equal(t, []string{"3 600 2 22", "3 600 2 22"}, got)
}

func TestCopyFileRange64(t *testing.T) {
	var got []uint64
	ops := &lowlevel.Operations{CopyFileRange: func(r lowlevel.WriteReq, _ lowlevel.NodeID, _ int64, _ *lowlevel.FileInfo, _ lowlevel.NodeID, _ int64,
		_ *lowlevel.FileInfo, n uint64, _ uint32) {
		got = append(got, n)
		r.ReplyWrite(int(min(n, 1<<30)))
	}}
	body := pack(&wire.CopyFileRangeIn{Len: 1 << 40})
	steps := golden(t, ops, request{Opcode: wire.OpCopyFileRange64, Body: body}, request{Opcode: wire.OpCopyFileRange, Body: body})
	require.Equal(t, pack(&wire.CopyFileRangeOut{BytesCopied: 1 << 30}), one(t, steps[1], 0))
	require.Equal(t, pack(&wire.WriteOut{Size: 1 << 30}), one(t, steps[2], 0))
	require.Equal(t, []uint64{1 << 40, 0xfffff000}, got)
}

func TestSetxattrExt(t *testing.T) {
	var got []string
	ops := &lowlevel.Operations{
		Init: func(c *lowlevel.Conn) error { return c.Want(lowlevel.CapSetxattrExt) },
		Setxattr: func(r lowlevel.ErrReq, _ lowlevel.NodeID, name lowlevel.Name, value []byte, flags uint32) {
			got = append(got, fmt.Sprintf("%s %s %d", name, value, flags))
			r.ReplyOK()
		},
	}
	body := append(pack(&wire.SetxattrIn{Size: 3, Flags: 2, SetxattrFlags: 1}), "user.a\x00val"...)
	one(t, golden(t, ops, request{Opcode: wire.OpSetxattr, Body: body})[1], 0)
	require.Equal(t, []string{"user.a val 2"}, got)
}

func TestOpenFlags(t *testing.T) {
	for flag, fi := range map[wire.FopenFlags]lowlevel.FileInfo{
		0:                              {Backing: -1},
		wire.FopenDirectIO:             {DirectIO: true},
		wire.FopenKeepCache:            {KeepCache: true},
		wire.FopenNonseekable:          {NonSeekable: true},
		wire.FopenCacheDir:             {CacheReaddir: true},
		wire.FopenStream:               {Stream: true},
		wire.FopenNoflush:              {NoFlush: true},
		wire.FopenParallelDirectWrites: {ParallelDirectWrites: true},
		wire.FopenPassthrough:          {Backing: 4},
		wire.FopenDirectIO | wire.FopenPassthrough: {DirectIO: true, Backing: 9},
	} {
		ops := &lowlevel.Operations{Open: func(r lowlevel.OpenReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { r.ReplyOpen(&fi) }}
		b := one(t, golden(t, ops, request{Opcode: wire.OpOpen, Body: pack(&wire.OpenIn{})})[1], 0)
		require.Equal(t, pack(&wire.OpenOut{OpenFlags: uint32(flag), BackingID: int32(max(fi.Backing, 0))}), b)
	}
}

func TestKillPriv(t *testing.T) {
	var got []bool
	ops := &lowlevel.Operations{
		Open: func(r lowlevel.OpenReq, _ lowlevel.NodeID, fi *lowlevel.FileInfo) {
			got = append(got, fi.KillPriv)
			r.ReplyOpen(fi)
		},
		Write: func(r lowlevel.WriteReq, _ lowlevel.NodeID, data []byte, _ int64, fi *lowlevel.FileInfo) {
			got = append(got, fi.KillPriv)
			r.ReplyWrite(len(data))
		},
	}
	golden(t, ops, request{Opcode: wire.OpOpen, Body: pack(&wire.OpenIn{OpenFlags: uint32(wire.OpenKillSuidgid)})},
		request{Opcode: wire.OpOpen, Body: pack(&wire.OpenIn{})},
		request{Opcode: wire.OpWrite, Body: pack(&wire.WriteIn{WriteFlags: uint32(wire.WriteKillSuidgid)})},
		request{Opcode: wire.OpWrite, Body: pack(&wire.WriteIn{WriteFlags: uint32(wire.WriteCache)})})
	require.Equal(t, []bool{true, false, true, false}, got)
}

func TestSecurityContext(t *testing.T) {
	var got []string
	ops := &lowlevel.Operations{
		Init: func(c *lowlevel.Conn) error { return c.Want(lowlevel.CapSecurityCtx) },
		Mkdir: func(r lowlevel.EntryReq, _ lowlevel.NodeID, name lowlevel.Name, _ uint32) {
			got = append(got, name.String())
			for n, v := range r.SecCtx() {
				got = append(got, n+"="+string(v))
			}
			r.ReplyEntry(&lowlevel.Entry{NodeID: 2})
		},
	}
	mkdir := func(name string, ext []byte) request {
		return request{Opcode: wire.OpMkdir, ExtLen: uint16(len(ext) / 8), Body: slices.Concat(pack(&wire.MkdirIn{}), []byte(name+"\x00"), ext)}
	}
	label := wire.AppendSecurityContexts(nil, wire.SecurityContext{Name: []byte("security.selinux"), Value: []byte("user_u:x\x00")})
	for _, s := range golden(t, ops,
		mkdir("plain", nil),
		mkdir("label", label),
		mkdir("none", pack(&wire.SecctxHeader{Size: 8})), // what a kernel without a security module sends
		mkdir("groups", wire.AppendGroups(nil, 5)),
		mkdir("both", wire.AppendGroups(slices.Clone(label), 5)),
		mkdir("broken", pack(&wire.SecctxHeader{Size: 400, NrSecctx: 1})),
	)[1:7] {
		one(t, s, 0)
	}
	require.Equal(t, []string{"plain", "label", "security.selinux=user_u:x\x00", "none", "groups", "both", "security.selinux=user_u:x\x00", "broken"}, got)
}

func TestNoInterrupt(t *testing.T) {
	ops := &lowlevel.Operations{Init: func(c *lowlevel.Conn) error {
		c.NoInterrupt = true
		return nil
	}}
	intr := request{Opcode: wire.OpInterrupt, Unique: 101, Body: pack(&wire.InterruptIn{Unique: 100})}
	one(t, golden(t, ops, intr)[1], enosys)

	// Otherwise it waits for its request, and goes back to the kernel when another one comes first.
	steps := golden(t, &lowlevel.Operations{}, intr, request{Opcode: wire.OpStatfs})
	require.Empty(t, steps[1])
	require.Len(t, steps[2], 2)
	require.Equal(t, errorReply(101, eagain), steps[2][0])
}

// TestInitAfterDestroy: DESTROY ends what INIT began, and another INIT begins again.
func TestInitAfterDestroy(t *testing.T) {
	inits, destroys := 0, 0
	ops := &lowlevel.Operations{
		Init:    func(*lowlevel.Conn) error { inits++; return nil },
		Destroy: func() { destroys++ },
	}
	again := initOf(31, ^wire.InitFlags(0))
	steps := golden(t, ops, request{Opcode: wire.OpDestroy}, request{Opcode: wire.OpStatfs}, request{Opcode: wire.OpForget, Body: make([]byte, 8)},
		again, request{Opcode: wire.OpStatfs})
	require.Empty(t, one(t, steps[1], 0))
	one(t, steps[2], eio)
	require.Empty(t, steps[3])
	initReplyOf(t, steps[4])
	one(t, steps[5], 0)
	require.Equal(t, 2, inits)
	require.Equal(t, 1, destroys, "once, when the kernel said so")
}

func TestInitShort(t *testing.T) {
	for n := range 8 {
		steps := playRaw(t, &lowlevel.Operations{}, nil, request{Opcode: wire.OpInit, Body: make([]byte, n)}, initOf(31, 0))
		one(t, steps[0], eproto)
		one(t, steps[1], 0)
	}
}

// TestBatchBeyondEnd: the batch's count is not believed; what is there is delivered.
func TestBatchBeyondEnd(t *testing.T) {
	var got []lowlevel.Forget
	ops := &lowlevel.Operations{ForgetMulti: func(r lowlevel.NoneReq, f []lowlevel.Forget) {
		got = append(got, f...)
		r.ReplyNone()
	}}
	body := append(pack(&wire.BatchForgetIn{Count: 1<<32 - 1}), pack(&wire.ForgetOne{NodeID: 4, NLookup: 2})...)
	steps := golden(t, ops, request{Opcode: wire.OpBatchForget, Body: body})
	require.Empty(t, steps[1])
	require.Equal(t, []lowlevel.Forget{{NodeID: 4, N: 2}}, got)
}
