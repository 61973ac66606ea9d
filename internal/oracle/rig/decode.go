//go:build linux

package rig

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

// requestStructs and replyStructs make the fixed part of a body readable; names and data follow as text.
var requestStructs = map[wire.Opcode]func() any{
	wire.OpForget: fresh[wire.ForgetIn], wire.OpBatchForget: fresh[wire.BatchForgetIn], wire.OpGetattr: fresh[wire.GetattrIn],
	wire.OpSetattr: fresh[wire.SetattrIn], wire.OpMknod: fresh[wire.MknodIn], wire.OpMkdir: fresh[wire.MkdirIn],
	wire.OpRename: fresh[wire.RenameIn], wire.OpRename2: fresh[wire.Rename2In], wire.OpLink: fresh[wire.LinkIn],
	wire.OpOpen: fresh[wire.OpenIn], wire.OpOpendir: fresh[wire.OpenIn], wire.OpCreate: fresh[wire.CreateIn],
	wire.OpTmpfile: fresh[wire.CreateIn], wire.OpRead: fresh[wire.ReadIn], wire.OpReaddir: fresh[wire.ReadIn],
	wire.OpReaddirplus: fresh[wire.ReadIn], wire.OpWrite: fresh[wire.WriteIn], wire.OpRelease: fresh[wire.ReleaseIn],
	wire.OpReleasedir: fresh[wire.ReleaseIn], wire.OpFsync: fresh[wire.FsyncIn], wire.OpFsyncdir: fresh[wire.FsyncIn],
	wire.OpFlush: fresh[wire.FlushIn], wire.OpGetxattr: fresh[wire.GetxattrIn], wire.OpListxattr: fresh[wire.GetxattrIn],
	wire.OpGetlk: fresh[wire.LKIn], wire.OpSetlk: fresh[wire.LKIn], wire.OpSetlkw: fresh[wire.LKIn], wire.OpAccess: fresh[wire.AccessIn],
	wire.OpInit: fresh[wire.InitIn], wire.OpInterrupt: fresh[wire.InterruptIn], wire.OpBmap: fresh[wire.BmapIn],
	wire.OpIoctl: fresh[wire.IoctlIn], wire.OpPoll: fresh[wire.PollIn], wire.OpNotifyReply: fresh[wire.NotifyRetrieveIn],
	wire.OpFallocate: fresh[wire.FallocateIn], wire.OpLseek: fresh[wire.LseekIn], wire.OpCopyFileRange: fresh[wire.CopyFileRangeIn],
	wire.OpCopyFileRange64: fresh[wire.CopyFileRangeIn], wire.OpSyncfs: fresh[wire.SyncfsIn], wire.OpStatx: fresh[wire.StatxIn],
}

var replyStructs = map[wire.Opcode]func() any{
	wire.OpLookup: fresh[wire.EntryOut], wire.OpSymlink: fresh[wire.EntryOut], wire.OpMknod: fresh[wire.EntryOut],
	wire.OpMkdir: fresh[wire.EntryOut], wire.OpLink: fresh[wire.EntryOut], wire.OpGetattr: fresh[wire.AttrOut],
	wire.OpSetattr: fresh[wire.AttrOut], wire.OpOpen: fresh[wire.OpenOut], wire.OpOpendir: fresh[wire.OpenOut],
	wire.OpCreate: fresh[createOut], wire.OpTmpfile: fresh[createOut], wire.OpWrite: fresh[wire.WriteOut],
	wire.OpCopyFileRange: fresh[wire.WriteOut], wire.OpStatfs: fresh[wire.StatfsOut], wire.OpInit: fresh[wire.InitOut],
	wire.OpGetlk: fresh[wire.LKOut], wire.OpBmap: fresh[wire.BmapOut], wire.OpIoctl: fresh[wire.IoctlOut], wire.OpPoll: fresh[wire.PollOut],
	wire.OpLseek: fresh[wire.LseekOut], wire.OpStatx: fresh[wire.StatxOut], wire.OpCopyFileRange64: fresh[wire.CopyFileRangeOut],
}

type createOut struct {
	Entry wire.EntryOut
	Open  wire.OpenOut
}

func fresh[T any]() any { return new(T) }

// fields decodes b as the struct that table has for op and returns it as text; what is missing counts as zero.
func fields(table map[wire.Opcode]func() any, op wire.Opcode, b []byte) string {
	var out strings.Builder
	if f := table[op]; f != nil && len(b) > 0 {
		v := f()
		n := binary.Size(v)
		full := make([]byte, n)
		copy(full, b)
		if _, err := binary.Decode(full, binary.NativeEndian, v); err != nil {
			return err.Error()
		}
		fmt.Fprintf(&out, "%+v", v)
		if len(b) < n {
			fmt.Fprintf(&out, " (%d of %d bytes)", len(b), n)
		}
		switch v := v.(type) {
		case *wire.InitOut:
			fmt.Fprintf(&out, " flags %v", wire.JoinInitFlags(v.Flags, v.Flags2))
		case *wire.InitIn:
			fmt.Fprintf(&out, " flags %v", wire.JoinInitFlags(v.Flags, v.Flags2))
		}
		b = b[min(n, len(b)):]
	}
	if len(b) > 0 {
		fmt.Fprintf(&out, " +%d bytes\n%s", len(b), indent(hex.Dump(b[:min(len(b), 512)])))
	}
	return strings.TrimSpace(out.String())
}

func indent(s string) string {
	return "\t\t" + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n\t\t")
}

// Describe is a request as text.
func (r *Request) Describe() string {
	return fmt.Sprintf("%v unique %d node %#x ctx %d/%d/%d ext %d body %d bytes: %s", r.Opcode, r.Unique, r.NodeID, r.UID, r.GID, r.PID,
		r.ExtLen, len(r.Body), fields(requestStructs, r.Opcode, r.Body))
}

// DescribeReply is a reply as text; ops tells which opcode a unique belongs to.
func DescribeReply(ops map[uint64]wire.Opcode, b []byte) string {
	if len(b) < 16 {
		return fmt.Sprintf("%d bytes: %x", len(b), b)
	}
	e := binary.NativeEndian
	length, code, unique := e.Uint32(b), int32(e.Uint32(b[4:])), e.Uint64(b[8:])
	head := fmt.Sprintf("%v unique %d length %d", ops[unique], unique, length)
	if unique == 0 {
		return fmt.Sprintf("notification %v length %d %s", wire.NotifyCode(code), length, fields(nil, 0, b[16:]))
	}
	if int(length) != len(b) {
		head += fmt.Sprintf(" in %d bytes", len(b))
	}
	if code != 0 {
		head += fmt.Sprintf(" error %d (%v)", code, syscall.Errno(-code))
	}
	return head + " " + fields(replyStructs, ops[unique], b[16:])
}
