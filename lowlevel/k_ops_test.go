//go:build linux

package lowlevel_test

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

const root = lowlevel.RootID

// quiet is a logger for tests that provoke what is logged.
var quiet = slog.New(slog.DiscardHandler)

// fileMode and dirMode are what yes says that everything is.
const (
	fileMode = syscall.S_IFREG | 0o644
	dirMode  = syscall.S_IFDIR | 0o755
)

func entry(mode uint32) *lowlevel.Entry {
	return &lowlevel.Entry{NodeID: 2, Attr: lowlevel.Stat{Ino: 2, Mode: mode, Nlink: 1}}
}

// yes is a file system that has every operation and agrees to all.
func yes() *lowlevel.Operations {
	ok := func(r lowlevel.ErrReq) { r.ReplyOK() }
	xattr := func(r lowlevel.XattrReq, size int) {
		if size == 0 {
			r.ReplyXattr(2)
		} else {
			r.ReplyBuf([]byte("x\x00")[:min(size, 2)/2*2])
		}
	}
	type (
		id = lowlevel.NodeID
		fi = *lowlevel.FileInfo
		nm = lowlevel.Name
	)
	return &lowlevel.Operations{
		Lookup:      func(r lowlevel.EntryReq, _ id, _ nm) { r.ReplyEntry(entry(fileMode)) },
		Forget:      func(r lowlevel.NoneReq, _ id, _ uint64) { r.ReplyNone() },
		ForgetMulti: func(r lowlevel.NoneReq, _ []lowlevel.Forget) { r.ReplyNone() },
		Getattr:     func(r lowlevel.AttrReq, _ id, _ fi) { r.ReplyAttr(&lowlevel.Stat{Mode: dirMode}, 0) },
		Setattr: func(r lowlevel.AttrReq, _ id, _ *lowlevel.SetAttr, _ fi) {
			r.ReplyAttr(&lowlevel.Stat{Mode: dirMode}, 0)
		},
		Readlink: func(r lowlevel.LinkReq, _ id) { r.ReplyReadlink("target") },
		Mknod: func(r lowlevel.EntryReq, _ id, _ nm, mode, _ uint32) {
			switch mode & syscall.S_IFMT {
			case 0, syscall.S_IFREG:
				r.ReplyEntry(entry(fileMode))
			default:
				r.ReplyErr(syscall.EPERM)
			}
		},
		Mkdir:         func(r lowlevel.EntryReq, _ id, _ nm, _ uint32) { r.ReplyEntry(entry(dirMode)) },
		Unlink:        func(r lowlevel.ErrReq, _ id, _ nm) { ok(r) },
		Rmdir:         func(r lowlevel.ErrReq, _ id, _ nm) { ok(r) },
		Symlink:       func(r lowlevel.EntryReq, _ nm, _ id, _ nm) { r.ReplyEntry(entry(syscall.S_IFLNK | 0o777)) },
		Rename:        func(r lowlevel.ErrReq, _ id, _ nm, _ id, _ nm, _ uint32) { ok(r) },
		Link:          func(r lowlevel.EntryReq, _, _ id, _ nm) { r.ReplyEntry(entry(fileMode)) },
		Open:          func(r lowlevel.OpenReq, _ id, f fi) { r.ReplyOpen(f) },
		Read:          func(r lowlevel.DataReq, _ id, size int, _ int64, _ fi) { r.ReplyBuf(r.Room(min(size, 4096))) },
		Write:         func(r lowlevel.WriteReq, _ id, data []byte, _ int64, _ fi) { r.ReplyWrite(len(data)) },
		Flush:         func(r lowlevel.ErrReq, _ id, _ fi) { ok(r) },
		Release:       func(r lowlevel.ErrReq, _ id, _ fi) { ok(r) },
		Fsync:         func(r lowlevel.ErrReq, _ id, _ bool, _ fi) { ok(r) },
		Opendir:       func(r lowlevel.OpenReq, _ id, f fi) { r.ReplyOpen(f) },
		Readdir:       func(r lowlevel.DirReq, _ id, _ int, _ uint64, _ fi) { r.Add("x", &lowlevel.Stat{Ino: 2}, 1); r.Reply() },
		Releasedir:    func(r lowlevel.ErrReq, _ id, _ fi) { ok(r) },
		Fsyncdir:      func(r lowlevel.ErrReq, _ id, _ bool, _ fi) { ok(r) },
		Statfs:        func(r lowlevel.StatfsReq, _ id) { r.ReplyStatfs(&lowlevel.Statfs{}) },
		Setxattr:      func(r lowlevel.ErrReq, _ id, _ nm, _ []byte, _ uint32) { ok(r) },
		Getxattr:      func(r lowlevel.XattrReq, _ id, _ nm, size int) { xattr(r, size) },
		Listxattr:     func(r lowlevel.XattrReq, _ id, size int) { xattr(r, size) },
		Removexattr:   func(r lowlevel.ErrReq, _ id, _ nm) { ok(r) },
		Access:        func(r lowlevel.ErrReq, _ id, _ uint32) { ok(r) },
		Create:        func(r lowlevel.CreateReq, _ id, _ nm, _ uint32, f fi) { r.ReplyCreate(entry(fileMode), f) },
		Getlk:         func(r lowlevel.LockReq, _ id, _ fi, l *lowlevel.Flock) { l.Type = syscall.F_UNLCK; r.ReplyLock(l) },
		Setlk:         func(r lowlevel.ErrReq, _ id, _ fi, _ *lowlevel.Flock, _ bool) { ok(r) },
		Bmap:          func(r lowlevel.BmapReq, _ id, _ int, _ uint64) { r.ReplyBmap(1) },
		Ioctl:         func(r lowlevel.IoctlReq, _ id, _ uint32, _ uint64, _ fi, _ uint32, _ []byte, _ int) { r.ReplyIoctl(0) },
		Poll:          func(r lowlevel.PollReq, _ id, _ fi, _ *lowlevel.PollHandle) { r.ReplyPoll(1) },
		RetrieveReply: func(r lowlevel.NoneReq, _ any, _ id, _ int64, _ *lowlevel.BufVec) { r.ReplyNone() },
		Flock:         func(r lowlevel.ErrReq, _ id, _ fi, _ int) { ok(r) },
		Fallocate:     func(r lowlevel.ErrReq, _ id, _ uint32, _, _ int64, _ fi) { ok(r) },
		Readdirplus: func(r lowlevel.PlusReq, _ id, _ int, _ uint64, _ fi) {
			r.Add("x", entry(fileMode), 1)
			r.Reply()
		},
		CopyFileRange: func(r lowlevel.WriteReq, _ id, _ int64, _ fi, _ id, _ int64, _ fi, _ uint64, _ uint32) {
			r.ReplyWrite(0)
		},
		Lseek:   func(r lowlevel.SeekReq, _ id, off int64, _ int, _ fi) { r.ReplyLseek(off) },
		Tmpfile: func(r lowlevel.CreateReq, _ id, _ uint32, f fi) { r.ReplyCreate(entry(fileMode), f) },
		Statx:   func(r lowlevel.StatxReq, _ id, _, _ uint32, _ fi) { r.ReplyStatx(&lowlevel.Statx{}, 0) },
		Syncfs:  func(r lowlevel.ErrReq, _ id) { ok(r) },
	}
}

// argSize is the size of an opcode's fixed argument today.
var argSize = map[wire.Opcode]int{
	wire.OpForget: 8, wire.OpGetattr: 16, wire.OpSetattr: 88, wire.OpMknod: 16, wire.OpMkdir: 8, wire.OpRename: 8, wire.OpLink: 8,
	wire.OpOpen: 8, wire.OpRead: 40, wire.OpWrite: 40, wire.OpRelease: 24, wire.OpFsync: 16, wire.OpSetxattr: 16, wire.OpGetxattr: 8,
	wire.OpListxattr: 8, wire.OpFlush: 24, wire.OpInit: 64, wire.OpOpendir: 8, wire.OpReaddir: 40, wire.OpReleasedir: 24, wire.OpFsyncdir: 16,
	wire.OpGetlk: 48, wire.OpSetlk: 48, wire.OpSetlkw: 48, wire.OpAccess: 8, wire.OpCreate: 16, wire.OpInterrupt: 8, wire.OpBmap: 16,
	wire.OpIoctl: 32, wire.OpPoll: 24, wire.OpNotifyReply: 40, wire.OpBatchForget: 8, wire.OpFallocate: 32, wire.OpReaddirplus: 40,
	wire.OpRename2: 16, wire.OpLseek: 24, wire.OpCopyFileRange: 56, wire.OpSyncfs: 8, wire.OpTmpfile: 16, wire.OpStatx: 24,
	wire.OpCopyFileRange64: 56,
}

// noReply reports whether nothing may be answered.
func noReply(op wire.Opcode) bool {
	return op == wire.OpForget || op == wire.OpBatchForget || op == wire.OpNotifyReply
}

// replies counts the replies to each request.
type replies struct {
	mu sync.Mutex
	n  map[uint64]int
}

func (r *replies) add(msg []byte) {
	var h wire.OutHeader
	copy(sys.Bytes(&h), msg)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = make(map[uint64]int)
	}
	r.n[h.Unique]++
}

func (r *replies) count(unique uint64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n[unique]
}

// TestEveryOpcode sends all opcodes with bodies of all kinds, before and after INIT: each request gets one reply that the kernel
// accepts, or none if none is due, and the session lives.
func TestEveryOpcode(t *testing.T) {
	for _, minor := range []uint32{8, 11, 22, wire.KernelMinor} {
		for name, ops := range map[string]*lowlevel.Operations{"all": yes(), "none": {Getattr: yes().Getattr}} {
			t.Run(fmt.Sprint(name, " minor ", minor), func(t *testing.T) { everyOpcode(t, minor, ops) })
		}
	}
}

func everyOpcode(t *testing.T, minor uint32, ops *lowlevel.Operations) {
	var seen replies
	cfg := &lowlevel.Config{Logger: quiet, Workers: 1, OnPanic: func(i lowlevel.RequestInfo, v any) lowlevel.Errno {
		t.Errorf("panic in %v: %v", i.Op, v)
		return syscall.EIO
	}}
	k := fusetest.Options{Minor: minor, NoInit: true, OnReply: seen.add}.New(t, ops, cfg)
	rng := rand.New(rand.NewPCG(1, uint64(minor)))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	send := func(op wire.Opcode, body []byte, before bool) {
		c := k.Start(op, root, body, nil)
		if op == wire.OpInterrupt && !before && len(body) >= 8 {
			// Nothing is known of its target: the next request sends it back.
			k.Getattr(root)
		}
		_, err := c.Wait()
		want := 1
		if noReply(op) {
			want = 0
			require.NoError(t, err)
		}
		require.Equal(t, want, seen.count(c.Unique), "%v with %d bytes", op, len(body))
		if before && !noReply(op) {
			wantErr := syscall.EIO
			if op == wire.OpInit {
				wantErr = syscall.EPROTO
			}
			require.Equal(t, wantErr, err, "%v with %d bytes", op, len(body))
		}
	}
	for _, before := range []bool{true, false} {
		for op := wire.Opcode(0); op <= 4200; op++ {
			size := argSize[op]
			bodies := [][]byte{nil, random(max(size-1, 0)), append(make([]byte, size), "a\x00b\x00"...), append(random(size), random(300)...)}
			if op == wire.OpInit && before {
				bodies = bodies[:1]
			}
			if op == wire.OpDestroy && !before {
				continue
			}
			for _, body := range bodies {
				send(op, body, before)
			}
		}
		if before {
			require.NoError(t, k.Init())
		}
	}
	_, err := k.Getattr(root)
	require.NoError(t, err)
	require.NoError(t, k.Destroy())
	_, err = k.Getattr(root)
	require.Equal(t, syscall.EIO, err)
}

// FuzzDispatch sends arbitrary requests: each gets one well-formed reply, or none if none is due, and the session lives.
func FuzzDispatch(f *testing.F) {
	f.Add(uint32(46), uint32(wire.OpLookup), uint64(1), uint16(0), []byte("name\x00"))
	f.Add(uint32(46), uint32(wire.OpMkdir), uint64(1), uint16(2), append([]byte("\x00\x00\x00\x00\x00\x00\x00\x00d\x00"), wire.AppendGroups(nil, 7)...))
	f.Add(uint32(8), uint32(wire.OpWrite), uint64(2), uint16(0), make([]byte, 60))
	f.Add(uint32(22), uint32(wire.OpBatchForget), uint64(0), uint16(0), []byte("\xff\xff\xff\xff\x00\x00\x00\x00aaaaaaaabbbbbbbb"))
	f.Add(uint32(46), uint32(wire.OpInterrupt), uint64(0), uint16(0), make([]byte, 8))
	f.Add(uint32(46), uint32(wire.OpReaddirplus), uint64(1), uint16(0), append([]byte("aaaaaaaabbbbbbbb\xff\xff\xff\xff"), make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, minor, op uint32, node uint64, ext uint16, body []byte) {
		if len(body) > 100_000 || op == uint32(wire.OpDestroy) {
			return // DESTROY ends the session
		}
		var seen replies
		cfg := &lowlevel.Config{Logger: quiet, Workers: 1, OnPanic: func(i lowlevel.RequestInfo, v any) lowlevel.Errno {
			t.Errorf("panic in %v: %v", i.Op, v)
			return syscall.EIO
		}}
		k := fusetest.Options{Minor: 1 + minor%wire.KernelMinor, OnReply: seen.add}.New(t, yes(), cfg)
		h := wire.InHeader{Len: uint32(40 + len(body)), Opcode: op, Unique: k.Unique(), NodeID: node, TotalExtLen: ext}
		c := k.Inject(append(sys.Bytes(&h), body...))
		_, err := k.Getattr(root)
		require.NoError(t, err)
		if wire.Opcode(op) == wire.OpInterrupt && len(body) >= 8 && binary.NativeEndian.Uint64(body) == h.Unique+2 {
			require.Zero(t, seen.count(h.Unique)) // it met its target
			k.Disconnect()
			return
		}
		c.Wait()
		want := 1
		if noReply(wire.Opcode(op)) {
			want = 0
		}
		require.Equal(t, want, seen.count(h.Unique))
	})
}
