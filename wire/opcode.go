//go:build linux

package wire

// Opcode is the operation of a request (InHeader.Opcode). Numbers 7 and 19 are not used. The comments name the protocol
// minor an opcode came with, if it was not there from the start.
type Opcode uint32

// The opcodes of /dev/fuse and /dev/cuse.
const (
	OpLookup          Opcode = 1
	OpForget          Opcode = 2 // no reply
	OpGetattr         Opcode = 3
	OpSetattr         Opcode = 4 // 7.1
	OpReadlink        Opcode = 5
	OpSymlink         Opcode = 6  // 7.1
	OpMknod           Opcode = 8  // 7.1
	OpMkdir           Opcode = 9  // 7.1
	OpUnlink          Opcode = 10 // 7.1
	OpRmdir           Opcode = 11 // 7.1
	OpRename          Opcode = 12 // 7.1
	OpLink            Opcode = 13 // 7.1
	OpOpen            Opcode = 14 // 7.1
	OpRead            Opcode = 15 // 7.1
	OpWrite           Opcode = 16 // 7.1
	OpStatfs          Opcode = 17
	OpRelease         Opcode = 18 // 7.1
	OpFsync           Opcode = 20 // 7.1
	OpSetxattr        Opcode = 21 // 7.1
	OpGetxattr        Opcode = 22 // 7.1
	OpListxattr       Opcode = 23 // 7.1
	OpRemovexattr     Opcode = 24 // 7.1
	OpFlush           Opcode = 25 // 7.1
	OpInit            Opcode = 26 // first request of a connection
	OpOpendir         Opcode = 27 // 7.1
	OpReaddir         Opcode = 28 // 7.1
	OpReleasedir      Opcode = 29 // 7.1
	OpFsyncdir        Opcode = 30 // 7.2
	OpGetlk           Opcode = 31 // 7.7
	OpSetlk           Opcode = 32 // 7.7
	OpSetlkw          Opcode = 33 // 7.7
	OpAccess          Opcode = 34 // 7.3
	OpCreate          Opcode = 35 // 7.3
	OpInterrupt       Opcode = 36 // 7.7; a reply is allowed only to refuse it
	OpBmap            Opcode = 37 // 7.8; fuseblk only
	OpDestroy         Opcode = 38 // 7.8; fuseblk and virtiofs only
	OpIoctl           Opcode = 39 // 7.11
	OpPoll            Opcode = 40 // 7.11
	OpNotifyReply     Opcode = 41 // 7.15; no reply; answers NotifyRetrieve
	OpBatchForget     Opcode = 42 // 7.16; no reply
	OpFallocate       Opcode = 43 // 7.19
	OpReaddirplus     Opcode = 44 // 7.21
	OpRename2         Opcode = 45 // 7.23
	OpLseek           Opcode = 46 // 7.24
	OpCopyFileRange   Opcode = 47 // 7.28
	OpSetupmapping    Opcode = 48 // 7.31; virtiofs
	OpRemovemapping   Opcode = 49 // 7.31; virtiofs
	OpSyncfs          Opcode = 50 // 7.34; fuseblk and virtiofs only
	OpTmpfile         Opcode = 51 // 7.37
	OpStatx           Opcode = 52 // 7.39
	OpCopyFileRange64 Opcode = 53 // 7.45

	OpCuseInit Opcode = 4096 // 7.11; first request of a /dev/cuse connection
)

// Opcodes of the iomap extension, which kernels that say 7.99 speak. Their numbers are the same in both numbering profiles.
const (
	OpFreezeFs    Opcode = 4089 // FreezefsIn
	OpUnfreezeFs  Opcode = 4090 // no body
	OpShutdownFs  Opcode = 4091 // ShutdownfsIn; the answer is ignored
	OpIomapConfig Opcode = 4092 // IomapConfigIn, IomapConfigOut; nodeid 0
	OpIomapIoend  Opcode = 4093 // IomapIoendIn, IomapIoendOut
	OpIomapBegin  Opcode = 4094 // IomapBeginIn, IomapBeginOut
	OpIomapEnd    Opcode = 4095 // IomapEndIn
)

// What the INIT opcodes look like from a machine of the other byte order; no opcode may ever take these numbers.
const (
	OpInitBswapReserved     Opcode = 436207616
	OpCuseInitBswapReserved Opcode = 1048576
)

var opcodeNames = [...]string{
	OpLookup:          "LOOKUP",
	OpForget:          "FORGET",
	OpGetattr:         "GETATTR",
	OpSetattr:         "SETATTR",
	OpReadlink:        "READLINK",
	OpSymlink:         "SYMLINK",
	OpMknod:           "MKNOD",
	OpMkdir:           "MKDIR",
	OpUnlink:          "UNLINK",
	OpRmdir:           "RMDIR",
	OpRename:          "RENAME",
	OpLink:            "LINK",
	OpOpen:            "OPEN",
	OpRead:            "READ",
	OpWrite:           "WRITE",
	OpStatfs:          "STATFS",
	OpRelease:         "RELEASE",
	OpFsync:           "FSYNC",
	OpSetxattr:        "SETXATTR",
	OpGetxattr:        "GETXATTR",
	OpListxattr:       "LISTXATTR",
	OpRemovexattr:     "REMOVEXATTR",
	OpFlush:           "FLUSH",
	OpInit:            "INIT",
	OpOpendir:         "OPENDIR",
	OpReaddir:         "READDIR",
	OpReleasedir:      "RELEASEDIR",
	OpFsyncdir:        "FSYNCDIR",
	OpGetlk:           "GETLK",
	OpSetlk:           "SETLK",
	OpSetlkw:          "SETLKW",
	OpAccess:          "ACCESS",
	OpCreate:          "CREATE",
	OpInterrupt:       "INTERRUPT",
	OpBmap:            "BMAP",
	OpDestroy:         "DESTROY",
	OpIoctl:           "IOCTL",
	OpPoll:            "POLL",
	OpNotifyReply:     "NOTIFY_REPLY",
	OpBatchForget:     "BATCH_FORGET",
	OpFallocate:       "FALLOCATE",
	OpReaddirplus:     "READDIRPLUS",
	OpRename2:         "RENAME2",
	OpLseek:           "LSEEK",
	OpCopyFileRange:   "COPY_FILE_RANGE",
	OpSetupmapping:    "SETUPMAPPING",
	OpRemovemapping:   "REMOVEMAPPING",
	OpSyncfs:          "SYNCFS",
	OpTmpfile:         "TMPFILE",
	OpStatx:           "STATX",
	OpCopyFileRange64: "COPY_FILE_RANGE_64",
}

func (o Opcode) name() string {
	if int64(o) < int64(len(opcodeNames)) {
		return opcodeNames[o]
	}
	switch o {
	case OpCuseInit:
		return "CUSE_INIT"
	case OpFreezeFs:
		return "FREEZE_FS"
	case OpUnfreezeFs:
		return "UNFREEZE_FS"
	case OpShutdownFs:
		return "SHUTDOWN_FS"
	case OpIomapConfig:
		return "IOMAP_CONFIG"
	case OpIomapIoend:
		return "IOMAP_IOEND"
	case OpIomapBegin:
		return "IOMAP_BEGIN"
	case OpIomapEnd:
		return "IOMAP_END"
	case OpInitBswapReserved:
		return "INIT_BSWAP_RESERVED"
	case OpCuseInitBswapReserved:
		return "CUSE_INIT_BSWAP_RESERVED"
	}
	return ""
}

// String returns the kernel's name without FUSE_ ("LOOKUP"), "OPCODE(77)" for a number without a name.
func (o Opcode) String() string {
	if n := o.name(); n != "" {
		return n
	}
	return unknownText("OPCODE", int64(o))
}

// DebugName returns what libfuse's debug output prints for the opcode: its name, "???" for a number without one.
func (o Opcode) DebugName() string {
	if n := o.name(); n != "" {
		return n
	}
	return "???"
}
