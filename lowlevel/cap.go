//go:build linux

package lowlevel

import (
	"strconv"
	"strings"

	"github.com/purefuse/purefuse/wire"
)

// Cap is a set of capabilities: libfuse's FUSE_CAP_* bits, with its numbers.
type Cap uint64

// The capabilities. "on" says when the library wants one by itself.
const (
	CapAsyncRead         Cap = 1 << 0  // several reads of a file at once; on
	CapPosixLocks        Cap = 1 << 1  // Getlk and Setlk; on if both are there
	CapAtomicOTrunc      Cap = 1 << 3  // Open handles O_TRUNC; on
	CapExportSupport     Cap = 1 << 4  // Lookup handles "." and ".."
	CapDontMask          Cap = 1 << 6  // the server applies the umask
	CapSpliceWrite       Cap = 1 << 7  // accepted as libfuse does; replies are not spliced
	CapSpliceMove        Cap = 1 << 8  // accepted as libfuse does
	CapSpliceRead        Cap = 1 << 9  // accepted as libfuse does; requests are not spliced
	CapFlockLocks        Cap = 1 << 10 // Flock; on if it is there
	CapIoctlDir          Cap = 1 << 11 // ioctls on directories; on
	CapAutoInvalData     Cap = 1 << 12 // drop cached data when size or mtime changed; on
	CapReaddirplus       Cap = 1 << 13 // Readdirplus; on if it is there
	CapReaddirplusAuto   Cap = 1 << 14 // either, as the kernel sees fit; on if Readdirplus and Readdir are there
	CapAsyncDIO          Cap = 1 << 15 // direct I/O in several requests at once; on
	CapWritebackCache    Cap = 1 << 16 // the kernel caches writes and owns size and mtime
	CapNoOpenSupport     Cap = 1 << 17 // makes a nil Open answer ENOSYS
	CapParallelDirops    Cap = 1 << 18 // lookups and readdirs of a directory at once
	CapPosixACL          Cap = 1 << 19 // POSIX ACLs, with default_permissions
	CapHandleKillpriv    Cap = 1 << 20 // the server drops suid, sgid and capabilities on write, truncate and chown
	CapHandleKillprivV2  Cap = 1 << 21 // the same when FileInfo.KillPriv or FattrKillSuidgid ask for it; saves a GETXATTR before each write
	CapCacheSymlinks     Cap = 1 << 23 // cache Readlink's answer
	CapNoOpendirSupport  Cap = 1 << 24 // makes a nil Opendir answer ENOSYS
	CapExplicitInvalData Cap = 1 << 25 // drop cached data only on notification
	CapExpireOnly        Cap = 1 << 26 // entries can be expired by notification
	CapSetxattrExt       Cap = 1 << 27 // the long form of SETXATTR
	CapDirectIOAllowMmap Cap = 1 << 28 // shared mmap of files opened with DirectIO
	CapPassthrough       Cap = 1 << 29 // backing files; not with CapWritebackCache
	CapNoExportSupport   Cap = 1 << 30 // refuse file handles
	CapOverIOUring       Cap = 1 << 31 // requests through io_uring; on with TransportIOURing
	CapAllowIdmap        Cap = 1 << 32 // id-mapped mounts, with default_permissions
	CapSecurityCtx       Cap = 1 << 33 // security contexts in creating requests
	CapCreateSuppGroup   Cap = 1 << 62 // Req.ParentGroup in creating requests; libfuse has no name for it (minor 38)
)

// capRow is one capability: its libfuse name, the flag in FUSE_INIT, and whether that stays with us.
type capRow struct {
	cap   Cap
	name  string
	flag  wire.InitFlags
	local bool
}

var capTable = [...]capRow{
	{CapAsyncRead, "ASYNC_READ", wire.InitAsyncRead, false},
	{CapPosixLocks, "POSIX_LOCKS", wire.InitPosixLocks, false},
	{CapAtomicOTrunc, "ATOMIC_O_TRUNC", wire.InitAtomicOTrunc, false},
	{CapExportSupport, "EXPORT_SUPPORT", wire.InitExportSupport, false},
	{CapDontMask, "DONT_MASK", wire.InitDontMask, false},
	{CapSpliceWrite, "SPLICE_WRITE", 0, true},
	{CapSpliceMove, "SPLICE_MOVE", 0, true},
	{CapSpliceRead, "SPLICE_READ", 0, true},
	{CapFlockLocks, "FLOCK_LOCKS", wire.InitFlockLocks, false},
	{CapIoctlDir, "IOCTL_DIR", 0, true},
	{CapAutoInvalData, "AUTO_INVAL_DATA", wire.InitAutoInvalData, false},
	{CapReaddirplus, "READDIRPLUS", wire.InitDoReaddirplus, false},
	{CapReaddirplusAuto, "READDIRPLUS_AUTO", wire.InitReaddirplusAuto, false},
	{CapAsyncDIO, "ASYNC_DIO", wire.InitAsyncDIO, false},
	{CapWritebackCache, "WRITEBACK_CACHE", wire.InitWritebackCache, false},
	{CapNoOpenSupport, "NO_OPEN_SUPPORT", wire.InitNoOpenSupport, true},
	{CapParallelDirops, "PARALLEL_DIROPS", wire.InitParallelDirops, false},
	{CapPosixACL, "POSIX_ACL", wire.InitPosixACL, false},
	{CapHandleKillpriv, "HANDLE_KILLPRIV", wire.InitHandleKillpriv, false},
	{CapHandleKillprivV2, "HANDLE_KILLPRIV_V2", wire.InitHandleKillprivV2, false},
	{CapCacheSymlinks, "CACHE_SYMLINKS", wire.InitCacheSymlinks, false},
	{CapNoOpendirSupport, "NO_OPENDIR_SUPPORT", wire.InitNoOpendirSupport, true},
	{CapExplicitInvalData, "EXPLICIT_INVAL_DATA", wire.InitExplicitInvalData, false},
	{CapExpireOnly, "EXPIRE_ONLY", wire.InitHasExpireOnly, true},
	{CapSetxattrExt, "SETXATTR_EXT", wire.InitSetxattrExt, false},
	{CapDirectIOAllowMmap, "DIRECT_IO_ALLOW_MMAP", wire.InitDirectIOAllowMmap, false},
	{CapPassthrough, "PASSTHROUGH", wire.InitPassthrough, false},
	{CapNoExportSupport, "NO_EXPORT_SUPPORT", wire.InitNoExportSupport, false},
	{CapOverIOUring, "OVER_IO_URING", wire.InitOverIOUring, false},
	{CapAllowIdmap, "ALLOW_IDMAP", wire.InitAllowIdmap, false},
	{CapSecurityCtx, "SECURITY_CTX", wire.InitSecurityCtx, false},
	{CapCreateSuppGroup, "CREATE_SUPP_GROUP", wire.InitCreateSuppGroup, false},
}

// Names returns the libfuse names of the capabilities in c, FUSE_CAP_X, in the order of their bits.
func (c Cap) Names() []string {
	var names []string
	for _, row := range capTable {
		if c&row.cap != 0 {
			names = append(names, "FUSE_CAP_"+row.name)
			c &^= row.cap
		}
	}
	if c != 0 {
		names = append(names, "0x"+strconv.FormatUint(uint64(c), 16))
	}
	return names
}

// String returns the names joined by "|", "0" for none.
func (c Cap) String() string {
	if c == 0 {
		return "0"
	}
	return strings.Join(c.Names(), "|")
}
