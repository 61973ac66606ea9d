//go:build linux

package hloracle

import (
	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

// message is the request as it goes to libfuse (side 0) or purefuse (side 1).
func (k *kernel) message(x *resolved, side int) []byte {
	a := &x.Args
	u := func(i int) uint32 { return uint32(a[i]) }
	var fh, fh2 uint64
	if x.handle != nil {
		fh = x.handle.fh[side]
	}
	if x.handle2 != nil {
		fh2 = x.handle2.fh[side]
	}
	m := rig.Request{Opcode: x.Op, Unique: x.unique, NodeID: x.node.id, UID: x.UID, GID: x.GID, PID: x.PID}
	var names []byte
	if x.Name != "" {
		names = cstring(x.Name)
	}
	if x.Name2 != "" {
		names = append(names, cstring(x.Name2)...)
	}
	size := uint32(len(x.Data))
	var fixed []any
	switch x.Op {
	case wire.OpForget:
		fixed = []any{&wire.ForgetIn{NLookup: k.forgettable(x.node, a[0])}}
	case wire.OpBatchForget:
		m.Body = k.batch(x)
		return m.Bytes()
	case wire.OpGetattr:
		in := wire.GetattrIn{FH: fh}
		if x.handle != nil {
			in.GetattrFlags = uint32(wire.GetattrFH)
		}
		fixed = []any{&in}
	case wire.OpSetattr:
		in := wire.SetattrIn{Valid: u(0) &^ uint32(wire.FattrFH), FH: fh, Size: a[1], Atime: a[2], Mtime: a[3], AtimeNsec: u(4), MtimeNsec: u(5),
			Mode: u(6), UID: u(7), GID: u(8), LockOwner: a[9]}
		if x.handle != nil {
			in.Valid |= uint32(wire.FattrFH)
		}
		fixed = []any{&in}
	case wire.OpStatfs:
		if a[0] != 0 {
			m.NodeID = 0
		}
	case wire.OpMknod:
		fixed = []any{&wire.MknodIn{Mode: u(0), Rdev: u(1), Umask: u(2)}}
	case wire.OpMkdir:
		fixed = []any{&wire.MkdirIn{Mode: u(0), Umask: u(1)}}
	case wire.OpRename:
		fixed = []any{&wire.RenameIn{NewDir: x.node2.id}}
	case wire.OpRename2:
		fixed = []any{&wire.Rename2In{NewDir: x.node2.id, Flags: u(0)}}
	case wire.OpLink:
		fixed = []any{&wire.LinkIn{OldNodeID: x.node2.id}}
	case wire.OpOpen, wire.OpOpendir:
		fixed = []any{&wire.OpenIn{Flags: u(0)}}
	case wire.OpCreate:
		fixed = []any{&wire.CreateIn{Flags: u(0), Mode: u(1), Umask: u(2)}}
	case wire.OpRead, wire.OpReaddir, wire.OpReaddirplus:
		fixed = []any{&wire.ReadIn{FH: fh, Offset: a[0], Size: u(1), ReadFlags: u(2), LockOwner: a[3], Flags: u(4)}}
	case wire.OpWrite:
		fixed = []any{&wire.WriteIn{FH: fh, Offset: a[0], Size: size, WriteFlags: u(2), LockOwner: a[3], Flags: u(4)}}
	case wire.OpRelease, wire.OpReleasedir:
		fixed = []any{&wire.ReleaseIn{FH: fh, Flags: u(0), ReleaseFlags: u(1), LockOwner: a[3]}}
	case wire.OpFlush:
		fixed = []any{&wire.FlushIn{FH: fh, LockOwner: a[3]}}
	case wire.OpFsync, wire.OpFsyncdir:
		fixed = []any{&wire.FsyncIn{FH: fh, FsyncFlags: u(0)}}
	case wire.OpSetxattr:
		m.Body = append(append(pack(nil, size, u(0)), names...), x.Data...)
		return m.Bytes()
	case wire.OpGetxattr, wire.OpListxattr:
		fixed = []any{&wire.GetxattrIn{Size: u(0)}}
	case wire.OpAccess:
		fixed = []any{&wire.AccessIn{Mask: u(0)}}
	case wire.OpGetlk, wire.OpSetlk, wire.OpSetlkw:
		fixed = []any{&wire.LKIn{FH: fh, Owner: a[3], LK: wire.FileLock{Start: a[0], End: a[1], Type: u(2), PID: u(4)}, LKFlags: u(5)}}
	case wire.OpBmap:
		fixed = []any{&wire.BmapIn{Block: a[0], BlockSize: u(1)}}
	case wire.OpIoctl:
		fixed = []any{&wire.IoctlIn{FH: fh, Flags: u(0), Cmd: u(1), Arg: a[2], InSize: size, OutSize: u(3)}}
	case wire.OpPoll:
		fixed = []any{&wire.PollIn{FH: fh, KH: a[0], Flags: u(1), Events: u(2)}}
	case wire.OpFallocate:
		fixed = []any{&wire.FallocateIn{FH: fh, Offset: a[0], Length: a[1], Mode: u(2)}}
	case wire.OpLseek:
		fixed = []any{&wire.LseekIn{FH: fh, Offset: a[0], Whence: u(1)}}
	case wire.OpCopyFileRange:
		fixed = []any{&wire.CopyFileRangeIn{FHIn: fh, OffIn: a[0], NodeIDOut: x.node2.id, FHOut: fh2, OffOut: a[1], Len: a[2], Flags: a[4]}}
	}
	if x.Op == wire.OpSymlink {
		names = append(cstring(x.Name), cstring(x.Name2)...)
	}
	m.Body = append(append(pack(nil, fixed...), names...), x.Data...)
	return m.Bytes()
}

// batch is the body of a BATCH_FORGET of what may be forgotten; the model forgets at once.
func (k *kernel) batch(x *resolved) []byte {
	if x.batch == nil {
		list := []byte{}
		count := uint32(0)
		for _, f := range x.Forgets {
			n := k.node(f.Node)
			if n == nil {
				continue
			}
			if c := k.forgettable(n, f.N); c > 0 {
				k.forget(n, c)
				list = pack(list, &wire.ForgetOne{NodeID: n.id, NLookup: c})
				count++
			}
		}
		x.batch = append(pack(nil, &wire.BatchForgetIn{Count: count}), list...)
	}
	return x.batch
}
