//go:build linux

package oracle

import (
	"slices"

	"github.com/purefuse/purefuse/wire"
)

// valid returns a request as a kernel of the sequence's minor would send it, with numbers from all over their ranges.
func (g *generator) valid(op wire.Opcode) request {
	r := request{Opcode: op}
	switch op {
	case wire.OpLookup, wire.OpUnlink, wire.OpRmdir, wire.OpRemovexattr:
		r.Body = g.name()
	case wire.OpForget:
		r.Body = pack(&wire.ForgetIn{NLookup: g.u64()})
	case wire.OpBatchForget:
		n := g.IntN(9)
		r.Body = pack(&wire.BatchForgetIn{Count: uint32(n)})
		for range n {
			r.Body = append(r.Body, pack(&wire.ForgetOne{NodeID: g.u64(), NLookup: g.u64()})...)
		}
	case wire.OpGetattr:
		if g.minor >= 9 {
			r.Body = pack(&wire.GetattrIn{GetattrFlags: pick(g, 0, 1, g.Uint32()), FH: g.u64()})
		}
	case wire.OpSetattr:
		r.Body = pack(&wire.SetattrIn{Valid: pick(g, 0, 0xfff, 1<<g.Uint32N(32), g.Uint32()), FH: g.u64(), Size: g.u64(), LockOwner: g.u64(),
			Atime: g.u64(), Mtime: g.u64(), Ctime: g.u64(), AtimeNsec: g.u32(), MtimeNsec: g.u32(), CtimeNsec: g.u32(),
			Mode: g.u32(), UID: g.u32(), GID: g.u32()})
	case wire.OpReadlink, wire.OpStatfs, wire.OpDestroy:
	case wire.OpSymlink:
		r.Body = append(g.name(), g.name()...)
		return g.extended(r)
	case wire.OpMknod:
		r.Body = pack(&wire.MknodIn{Mode: g.u32(), Rdev: g.u32(), Umask: g.Uint32N(512)})
		if g.minor < 12 {
			r.Body = r.Body[:8]
		}
		r.Body = append(r.Body, g.name()...)
		return g.extended(r)
	case wire.OpMkdir:
		r.Body = append(pack(&wire.MkdirIn{Mode: g.u32(), Umask: g.Uint32N(512)}), g.name()...)
		return g.extended(r)
	case wire.OpRename:
		r.Body = slices.Concat(pack(&wire.RenameIn{NewDir: g.u64()}), g.name(), g.name())
	case wire.OpRename2:
		r.Body = slices.Concat(pack(&wire.Rename2In{NewDir: g.u64(), Flags: pick(g, 1, 2, 4, g.Uint32())}), g.name(), g.name())
	case wire.OpLink:
		r.Body = append(pack(&wire.LinkIn{OldNodeID: g.u64()}), g.name()...)
	case wire.OpOpen, wire.OpOpendir:
		r.Body = pack(&wire.OpenIn{Flags: g.u32(), OpenFlags: g.Uint32N(2)})
	case wire.OpCreate, wire.OpTmpfile:
		r.Body = pack(&wire.CreateIn{Flags: g.u32(), Mode: g.u32(), Umask: g.Uint32N(512), OpenFlags: g.Uint32N(2)})
		if g.minor < 12 {
			r.Body = r.Body[:8]
		}
		r.Body = append(r.Body, g.name()...)
		return g.extended(r)
	case wire.OpRead, wire.OpReaddir, wire.OpReaddirplus:
		r.Body = pack(&wire.ReadIn{FH: g.u64(), Offset: g.u64(), Size: g.size(), ReadFlags: g.u32(), LockOwner: g.u64(), Flags: g.u32()})
		if g.minor < 9 {
			r.Body = r.Body[:24]
		}
	case wire.OpWrite:
		n := g.IntN(300)
		switch {
		case g.large && g.one(8):
			n = g.IntN(70000)
		case g.one(4):
			n = pick(g, 0, 1, 3000)
		}
		r.Body = pack(&wire.WriteIn{FH: g.u64(), Offset: g.u64(), Size: uint32(n), WriteFlags: pick(g, 0, 1, 2, 4, 7, g.Uint32()),
			LockOwner: g.u64(), Flags: g.u32()})
		if g.minor < 9 {
			r.Body = r.Body[:24]
		}
		r.Body = append(r.Body, g.data(n)...)
	case wire.OpRelease, wire.OpReleasedir:
		r.Body = pack(&wire.ReleaseIn{FH: g.u64(), Flags: g.u32(), ReleaseFlags: pick(g, 0, 1, 2, 3, g.Uint32()), LockOwner: g.u64()})
	case wire.OpFsync, wire.OpFsyncdir:
		r.Body = pack(&wire.FsyncIn{FH: g.u64(), FsyncFlags: g.u32()})
	case wire.OpFlush:
		r.Body = pack(&wire.FlushIn{FH: g.u64(), LockOwner: g.u64()})
	case wire.OpSetxattr:
		value := g.data(pick(g, 0, 1, g.IntN(200)))
		r.Body = slices.Concat(pack(&wire.SetxattrIn{Size: uint32(len(value)), Flags: pick(g, 0, 1, 2, g.Uint32())})[:8], g.name(), value)
	case wire.OpGetxattr:
		r.Body = append(pack(&wire.GetxattrIn{Size: g.size()}), g.name()...)
	case wire.OpListxattr:
		r.Body = pack(&wire.GetxattrIn{Size: g.size()})
	case wire.OpGetlk, wire.OpSetlk, wire.OpSetlkw:
		r.Body = pack(&wire.LKIn{FH: g.u64(), Owner: g.u64(), LKFlags: pick(g, 0, 0, 1, g.Uint32()),
			LK: wire.FileLock{Start: g.u64(), End: g.u64(), Type: pick(g, 0, 1, 2, g.Uint32()), PID: g.u32()}})
		if g.minor < 9 {
			r.Body = r.Body[:40]
		}
	case wire.OpAccess:
		r.Body = pack(&wire.AccessIn{Mask: pick(g, g.Uint32N(8), 0x4000, 0x4001, 0x2000, 0x2000, g.Uint32())})
	case wire.OpInterrupt:
		r.Body = pack(&wire.InterruptIn{Unique: g.u64() | 1<<40}) // of nothing there is
	case wire.OpBmap:
		r.Body = pack(&wire.BmapIn{Block: g.u64(), BlockSize: g.u32()})
	case wire.OpIoctl:
		in := g.data(pick(g, 0, 4, g.IntN(300)))
		r.Body = append(pack(&wire.IoctlIn{FH: g.u64(), Flags: pick(g, 0, 1, 16, g.Uint32N(64), g.Uint32()), Cmd: g.Uint32(), Arg: g.u64(),
			InSize: uint32(len(in)), OutSize: g.size()}), in...)
	case wire.OpPoll:
		r.Body = pack(&wire.PollIn{FH: g.u64(), KH: g.u64(), Flags: pick(g, 0, 1, g.Uint32()), Events: g.u32()})
	case wire.OpNotifyReply:
		n := g.IntN(100)
		r.Unique = pick[uint64](g, 0, 1, 1, 2, 3)
		r.Body = append(pack(&wire.NotifyRetrieveIn{Offset: g.u64(), Size: uint32(n)}), g.data(n)...)
	case wire.OpFallocate:
		r.Body = pack(&wire.FallocateIn{FH: g.u64(), Offset: g.u64(), Length: g.u64(), Mode: g.u32()})
	case wire.OpLseek:
		r.Body = pack(&wire.LseekIn{FH: g.u64(), Offset: g.u64(), Whence: g.u32()})
	case wire.OpCopyFileRange, wire.OpCopyFileRange64:
		r.Body = pack(&wire.CopyFileRangeIn{FHIn: g.u64(), OffIn: g.u64(), NodeIDOut: g.u64(), FHOut: g.u64(), OffOut: g.u64(),
			Len: g.u64(), Flags: g.u64()})
	case wire.OpSyncfs:
		r.Body = make([]byte, 8)
	case wire.OpStatx:
		r.Body = pack(&wire.StatxIn{GetattrFlags: g.Uint32N(2), FH: g.u64(), SxFlags: g.u32(), SxMask: g.u32()})
	default:
		r.Body = g.raw(g.IntN(64))
	}
	return r
}

func (g *generator) data(n int) []byte {
	b := make([]byte, n)
	v := g.Uint64()
	for i := range b {
		b[i] = byte(v>>(i%8*8)) ^ byte(i)
	}
	return b
}
