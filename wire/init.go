//go:build linux

package wire

// InitFlags are the flags of the INIT exchange: Flags in the lower half, Flags2 in the upper one.
type InitFlags uint64

// The flags of the INIT exchange. The kernel offers them in InitIn; those that the server repeats in InitOut are in force.
const (
	InitAsyncRead         InitFlags = 1 << 0  // several READs per file at a time
	InitPosixLocks        InitFlags = 1 << 1  // GETLK, SETLK, SETLKW are sent; without it the kernel keeps POSIX locks itself
	InitFileOps           InitFlags = 1 << 2  // unused
	InitAtomicOTrunc      InitFlags = 1 << 3  // O_TRUNC stays in OPEN; without it a SETATTR follows
	InitExportSupport     InitFlags = 1 << 4  // LOOKUP of "." and ".." for NFS handles
	InitBigWrites         InitFlags = 1 << 5  // WRITEs above 4 KiB
	InitDontMask          InitFlags = 1 << 6  // the kernel does not apply the umask
	InitSpliceWrite       InitFlags = 1 << 7  // the device can be spliced to; no effect in the kernel
	InitSpliceMove        InitFlags = 1 << 8  // pages can be moved; no effect in the kernel
	InitSpliceRead        InitFlags = 1 << 9  // the device can be spliced from; no effect in the kernel
	InitFlockLocks        InitFlags = 1 << 10 // flock(2) arrives as SETLK and SETLKW with LKFlock
	InitHasIoctlDir       InitFlags = 1 << 11 // IOCTL on directories; no effect in the kernel
	InitAutoInvalData     InitFlags = 1 << 12 // cached pages are dropped when mtime or size changed
	InitDoReaddirplus     InitFlags = 1 << 13 // READDIRPLUS is sent
	InitReaddirplusAuto   InitFlags = 1 << 14 // READDIRPLUS only where lookups are expected; needs InitDoReaddirplus
	InitAsyncDIO          InitFlags = 1 << 15 // direct I/O in parallel requests
	InitWritebackCache    InitFlags = 1 << 16 // the kernel collects writes and owns size, mtime and ctime
	InitNoOpenSupport     InitFlags = 1 << 17 // OPEN may be answered with ENOSYS; informational
	InitParallelDirops    InitFlags = 1 << 18 // LOOKUP and READDIR of one directory at the same time
	InitHandleKillpriv    InitFlags = 1 << 19 // the server clears suid, sgid and capabilities
	InitPosixACL          InitFlags = 1 << 20 // the kernel interprets ACL xattrs; implies default_permissions
	InitAbortError        InitFlags = 1 << 21 // reading the device after an abort gives ECONNABORTED instead of ENODEV
	InitMaxPages          InitFlags = 1 << 22 // InitOut.MaxPages counts
	InitCacheSymlinks     InitFlags = 1 << 23 // READLINK answers are cached
	InitNoOpendirSupport  InitFlags = 1 << 24 // OPENDIR may be answered with ENOSYS; informational
	InitExplicitInvalData InitFlags = 1 << 25 // cached pages are dropped only on notification; InitAutoInvalData wins
	InitMapAlignment      InitFlags = 1 << 26 // InitOut.MapAlignment counts (DAX)
	InitSubmounts         InitFlags = 1 << 27 // AttrSubmount makes automatic submounts (virtiofs)
	InitHandleKillprivV2  InitFlags = 1 << 28 // as InitHandleKillpriv, told by KillSuidgid flags
	InitSetxattrExt       InitFlags = 1 << 29 // SetxattrIn has all its 16 bytes
	InitExt               InitFlags = 1 << 30 // Flags2 counts; must be set on the side that uses the upper half
	InitReserved          InitFlags = 1 << 31 // never set
	InitSecurityCtx       InitFlags = 1 << 32 // creating requests carry security contexts, see Extensions
	InitHasInodeDAX       InitFlags = 1 << 33 // AttrDAX counts
	InitCreateSuppGroup   InitFlags = 1 << 34 // creating requests carry a supplementary group, see Extensions
	InitHasExpireOnly     InitFlags = 1 << 35 // ExpireOnly is understood
	InitDirectIOAllowMmap InitFlags = 1 << 36 // MAP_SHARED on files opened with FopenDirectIO
	InitPassthrough       InitFlags = 1 << 37 // FopenPassthrough works; needs InitOut.MaxStackDepth and no InitWritebackCache
	InitNoExportSupport   InitFlags = 1 << 38 // file handles are refused
	InitHasResend         InitFlags = 1 << 39 // NotifyResend is understood
	InitAllowIdmap        InitFlags = 1 << 40 // id-mapped mounts; needs default_permissions
	InitOverIOUring       InitFlags = 1 << 41 // requests go through io_uring once every queue is registered
	InitRequestTimeout    InitFlags = 1 << 42 // InitOut.RequestTimeout counts
	InitHasIOUringBufpool InitFlags = 1 << 43 // UringCmdAddQueue and UringCmdAddBufpool are understood (7.46); see InitIomap

	// InitIomap is FUSE_IOMAP, the iomap extension, and has the same bit as InitHasIOUringBufpool: it means iomap only if
	// the kernel says minor IomapMinor, and must not be set towards any other kernel with that intent.
	InitIomap = InitHasIOUringBufpool
)

var initNames = [...]string{
	0:  "ASYNC_READ",
	1:  "POSIX_LOCKS",
	2:  "FILE_OPS",
	3:  "ATOMIC_O_TRUNC",
	4:  "EXPORT_SUPPORT",
	5:  "BIG_WRITES",
	6:  "DONT_MASK",
	7:  "SPLICE_WRITE",
	8:  "SPLICE_MOVE",
	9:  "SPLICE_READ",
	10: "FLOCK_LOCKS",
	11: "HAS_IOCTL_DIR",
	12: "AUTO_INVAL_DATA",
	13: "DO_READDIRPLUS",
	14: "READDIRPLUS_AUTO",
	15: "ASYNC_DIO",
	16: "WRITEBACK_CACHE",
	17: "NO_OPEN_SUPPORT",
	18: "PARALLEL_DIROPS",
	19: "HANDLE_KILLPRIV",
	20: "POSIX_ACL",
	21: "ABORT_ERROR",
	22: "MAX_PAGES",
	23: "CACHE_SYMLINKS",
	24: "NO_OPENDIR_SUPPORT",
	25: "EXPLICIT_INVAL_DATA",
	26: "MAP_ALIGNMENT",
	27: "SUBMOUNTS",
	28: "HANDLE_KILLPRIV_V2",
	29: "SETXATTR_EXT",
	30: "INIT_EXT",
	31: "INIT_RESERVED",
	32: "SECURITY_CTX",
	33: "HAS_INODE_DAX",
	34: "CREATE_SUPP_GROUP",
	35: "HAS_EXPIRE_ONLY",
	36: "DIRECT_IO_ALLOW_MMAP",
	37: "PASSTHROUGH",
	38: "NO_EXPORT_SUPPORT",
	39: "HAS_RESEND",
	40: "ALLOW_IDMAP",
	41: "OVER_IO_URING",
	42: "REQUEST_TIMEOUT",
	43: "HAS_IO_URING_BUFPOOL",
}

// String returns the flags' names as protocol 7.46 has them; see Text for the iomap extension.
func (f InitFlags) String() string { return flagText(f, initNames[:]) }

// Text returns the flags' names as a peer of the given protocol minor means them.
func (f InitFlags) Text(minor uint32) string {
	if minor != IomapMinor {
		return f.String()
	}
	names := initNames
	names[43] = "IOMAP"
	return flagText(f, names[:])
}

// Split returns the flags as the two words that travel, with InitExt added if the upper half is used.
func (f InitFlags) Split() (flags, flags2 uint32) {
	if f>>32 != 0 {
		f |= InitExt
	}
	return uint32(f), uint32(f >> 32)
}

// JoinInitFlags puts the two words that travel together; flags2 counts only if flags has InitExt.
func JoinInitFlags(flags, flags2 uint32) InitFlags {
	f := InitFlags(flags)
	if f&InitExt != 0 {
		f |= InitFlags(flags2) << 32
	}
	return f
}
