//go:build linux

package wire

// FopenFlags are what OPEN, OPENDIR and CREATE answer in OpenOut.OpenFlags.
type FopenFlags uint32

// The bits of FopenFlags.
const (
	FopenDirectIO             FopenFlags = 1 << 0 // reads and writes bypass the page cache; ignored for directories
	FopenKeepCache            FopenFlags = 1 << 1 // cached pages survive this open
	FopenNonseekable          FopenFlags = 1 << 2 // lseek fails with ESPIPE
	FopenCacheDir             FopenFlags = 1 << 3 // directory entries may be cached
	FopenStream               FopenFlags = 1 << 4 // no file position at all
	FopenNoflush              FopenFlags = 1 << 5 // close sends no FLUSH, unless the writeback cache is on
	FopenParallelDirectWrites FopenFlags = 1 << 6 // with FopenDirectIO: writes do not exclude each other
	FopenPassthrough          FopenFlags = 1 << 7 // I/O goes to the backing file OpenOut.BackingID
	FopenIOUringZeroCopy      FopenFlags = 1 << 8 // I/O may use the zero-copy slots of a ring (7.46)
)

var fopenFlagsNames = [...]string{
	"DIRECT_IO", "KEEP_CACHE", "NONSEEKABLE", "CACHE_DIR", "STREAM", "NOFLUSH", "PARALLEL_DIRECT_WRITES", "PASSTHROUGH",
	"IO_URING_ZERO_COPY",
}

// String returns the names of the set bits.
func (f FopenFlags) String() string { return flagText(f, fopenFlagsNames[:]) }

// SetattrValid are which fields of SetattrIn count (SetattrIn.Valid).
type SetattrValid uint32

// The bits of SetattrValid.
const (
	FattrMode        SetattrValid = 1 << 0
	FattrUID         SetattrValid = 1 << 1
	FattrGID         SetattrValid = 1 << 2
	FattrSize        SetattrValid = 1 << 3
	FattrAtime       SetattrValid = 1 << 4
	FattrMtime       SetattrValid = 1 << 5
	FattrFH          SetattrValid = 1 << 6  // FH is an open file: ftruncate and its like
	FattrAtimeNow    SetattrValid = 1 << 7  // the server's clock instead of Atime
	FattrMtimeNow    SetattrValid = 1 << 8  // the server's clock instead of Mtime
	FattrLockOwner   SetattrValid = 1 << 9  // LockOwner counts; set with every change of size
	FattrCtime       SetattrValid = 1 << 10 // writeback cache only
	FattrKillSuidgid SetattrValid = 1 << 11 // clear suid and sgid; InitHandleKillprivV2 only
)

var setattrValidNames = [...]string{
	"MODE", "UID", "GID", "SIZE", "ATIME", "MTIME", "FH", "ATIME_NOW", "MTIME_NOW", "LOCKOWNER", "CTIME",
	"KILL_SUIDGID",
}

// String returns the names of the set bits.
func (f SetattrValid) String() string { return flagText(f, setattrValidNames[:]) }

// GetattrFlags are the flags of GETATTR and STATX.
type GetattrFlags uint32

// The bits of GetattrFlags.
const (
	GetattrFH GetattrFlags = 1 << 0 // FH is an open file
)

var getattrFlagsNames = [...]string{"FH"}

// String returns the names of the set bits.
func (f GetattrFlags) String() string { return flagText(f, getattrFlagsNames[:]) }

// ReadFlags are ReadIn.ReadFlags.
type ReadFlags uint32

// The bits of ReadFlags.
const (
	ReadLockOwner ReadFlags = 1 << 1 // LockOwner counts; direct I/O only
)

var readFlagsNames = [...]string{"", "LOCKOWNER"}

// String returns the names of the set bits.
func (f ReadFlags) String() string { return flagText(f, readFlagsNames[:]) }

// WriteFlags are WriteIn.WriteFlags.
type WriteFlags uint32

// The bits of WriteFlags.
const (
	WriteCache       WriteFlags = 1 << 0 // page-cache writeback: FH is any writable handle, the credentials mean nothing
	WriteLockOwner   WriteFlags = 1 << 1 // LockOwner counts
	WriteKillSuidgid WriteFlags = 1 << 2 // clear suid and sgid
)

var writeFlagsNames = [...]string{"CACHE", "LOCKOWNER", "KILL_SUIDGID"}

// String returns the names of the set bits.
func (f WriteFlags) String() string { return flagText(f, writeFlagsNames[:]) }

// ReleaseFlags are ReleaseIn.ReleaseFlags.
type ReleaseFlags uint32

// The bits of ReleaseFlags.
const (
	ReleaseFlush       ReleaseFlags = 1 << 0 // no current kernel sets it
	ReleaseFlockUnlock ReleaseFlags = 1 << 1 // drop the flock lock of LockOwner
)

var releaseFlagsNames = [...]string{"FLUSH", "FLOCK_UNLOCK"}

// String returns the names of the set bits.
func (f ReleaseFlags) String() string { return flagText(f, releaseFlagsNames[:]) }

// FsyncFlags are FsyncIn.FsyncFlags.
type FsyncFlags uint32

// The bits of FsyncFlags.
const (
	FsyncDatasync FsyncFlags = 1 << 0 // fdatasync: metadata may stay behind
)

var fsyncFlagsNames = [...]string{"FDATASYNC"}

// String returns the names of the set bits.
func (f FsyncFlags) String() string { return flagText(f, fsyncFlagsNames[:]) }

// LKFlags are LKIn.LKFlags.
type LKFlags uint32

// The bits of LKFlags.
const (
	LKFlock LKFlags = 1 << 0 // an flock lock, not a POSIX one
)

var lkFlagsNames = [...]string{"FLOCK"}

// String returns the names of the set bits.
func (f LKFlags) String() string { return flagText(f, lkFlagsNames[:]) }

// OpenInFlags are OpenIn.OpenFlags and CreateIn.OpenFlags.
type OpenInFlags uint32

// The bits of OpenInFlags.
const (
	OpenKillSuidgid OpenInFlags = 1 << 0 // O_TRUNC must clear suid and sgid
)

var openInFlagsNames = [...]string{"KILL_SUIDGID"}

// String returns the names of the set bits.
func (f OpenInFlags) String() string { return flagText(f, openInFlagsNames[:]) }

// SetxattrFlags are SetxattrIn.SetxattrFlags.
type SetxattrFlags uint32

// The bits of SetxattrFlags.
const (
	SetxattrACLKillSgid SetxattrFlags = 1 << 0 // setting this ACL must clear sgid
)

var setxattrFlagsNames = [...]string{"ACL_KILL_SGID"}

// String returns the names of the set bits.
func (f SetxattrFlags) String() string { return flagText(f, setxattrFlagsNames[:]) }

// AttrFlags are Attr.Flags.
type AttrFlags uint32

// The bits of AttrFlags.
const (
	AttrSubmount  AttrFlags = 1 << 0 // root of a submount (virtiofs)
	AttrDAX       AttrFlags = 1 << 1 // use DAX for this file
	AttrExclusive AttrFlags = 1 << 2 // iomap extension: only this mount changes the file
	AttrIomapBit  AttrFlags = 1 << 3 // iomap extension: the file has mappings; without AttrExclusive it means nothing
	AttrAtomic    AttrFlags = 1 << 4 // iomap extension: untorn writes of one block
	AttrSync      AttrFlags = 1 << 5 // iomap extension: every write is synchronous
	AttrImmutable AttrFlags = 1 << 6 // iomap extension: the VFS refuses changes
	AttrAppend    AttrFlags = 1 << 7 // iomap extension: the VFS allows only appending

	// AttrIomap makes a regular file an iomap file, for either numbering profile.
	AttrIomap = AttrExclusive | AttrIomapBit
)

var attrFlagsNames = [...]string{"SUBMOUNT", "DAX", "EXCLUSIVE", "IOMAP", "ATOMIC", "SYNC", "IMMUTABLE", "APPEND"}

// String returns the names of the set bits.
func (f AttrFlags) String() string { return flagText(f, attrFlagsNames[:]) }

// InvalEntryFlags are NotifyInvalEntryOut.Flags.
type InvalEntryFlags uint32

// The bits of InvalEntryFlags.
const (
	ExpireOnly InvalEntryFlags = 1 << 0 // only let the entry's timeout run out (7.38)
)

var invalEntryFlagsNames = [...]string{"EXPIRE_ONLY"}

// String returns the names of the set bits.
func (f InvalEntryFlags) String() string { return flagText(f, invalEntryFlagsNames[:]) }

// PollFlags are PollIn.Flags.
type PollFlags uint32

// The bits of PollFlags.
const (
	PollScheduleNotify PollFlags = 1 << 0 // somebody waits: send NotifyPoll for KH when the file becomes ready
)

var pollFlagsNames = [...]string{"SCHEDULE_NOTIFY"}

// String returns the names of the set bits.
func (f PollFlags) String() string { return flagText(f, pollFlagsNames[:]) }

// IoctlFlags are IoctlIn.Flags, and IoctlOut.Flags for IoctlRetry.
type IoctlFlags uint32

// The bits of IoctlFlags.
const (
	IoctlCompat       IoctlFlags = 1 << 0 // 32-bit caller on a 64-bit kernel
	IoctlUnrestricted IoctlFlags = 1 << 1 // the server may ask for memory by IoctlRetry; CUSE only
	IoctlRetry        IoctlFlags = 1 << 2 // answer only: ask again with these areas
	Ioctl32Bit        IoctlFlags = 1 << 3 // 32-bit caller
	IoctlDir          IoctlFlags = 1 << 4 // the file is a directory
	IoctlCompatX32    IoctlFlags = 1 << 5 // x32 caller
)

var ioctlFlagsNames = [...]string{"COMPAT", "UNRESTRICTED", "RETRY", "32BIT", "DIR", "COMPAT_X32"}

// String returns the names of the set bits.
func (f IoctlFlags) String() string { return flagText(f, ioctlFlagsNames[:]) }

// SetupmappingFlags are SetupmappingIn.Flags.
type SetupmappingFlags uint64

// The bits of SetupmappingFlags.
const (
	SetupmappingWrite SetupmappingFlags = 1 << 0
	SetupmappingRead  SetupmappingFlags = 1 << 1
)

var setupmappingFlagsNames = [...]string{"WRITE", "READ"}

// String returns the names of the set bits.
func (f SetupmappingFlags) String() string { return flagText(f, setupmappingFlagsNames[:]) }

// CuseInitFlags are CuseInitIn.Flags and CuseInitOut.Flags.
type CuseInitFlags uint32

// The bits of CuseInitFlags.
const (
	CuseUnrestrictedIoctl CuseInitFlags = 1 << 0 // IOCTL may use IoctlRetry
)

var cuseInitFlagsNames = [...]string{"UNRESTRICTED_IOCTL"}

// String returns the names of the set bits.
func (f CuseInitFlags) String() string { return flagText(f, cuseInitFlagsNames[:]) }

// RenameFlags are Rename2In.Flags, the flags of renameat2(2).
type RenameFlags uint32

// The bits of RenameFlags.
const (
	RenameNoreplace RenameFlags = 1 << 0
	RenameExchange  RenameFlags = 1 << 1
	RenameWhiteout  RenameFlags = 1 << 2
)

var renameFlagsNames = [...]string{"NOREPLACE", "EXCHANGE", "WHITEOUT"}

// String returns the names of the set bits.
func (f RenameFlags) String() string { return flagText(f, renameFlagsNames[:]) }

// UringQueueFlags are UringCmdReq.Flags of UringCmdAddQueue.
type UringQueueFlags uint64

// The bits of UringQueueFlags.
const (
	UringZeroCopy UringQueueFlags = 1 << 0 // the queue's entries name zero-copy slots; CAP_SYS_ADMIN
)

var uringQueueFlagsNames = [...]string{"ZERO_COPY"}

// String returns the names of the set bits.
func (f UringQueueFlags) String() string { return flagText(f, uringQueueFlagsNames[:]) }

// UringEntFlags are UringEntInOut.Flags.
type UringEntFlags uint64

// The bits of UringEntFlags.
const (
	UringEntZeroCopy UringEntFlags = 1 << 0 // the request's pages are in the entry's zero-copy slot
)

var uringEntFlagsNames = [...]string{"ZERO_COPY"}

// String returns the names of the set bits.
func (f UringEntFlags) String() string { return flagText(f, uringEntFlagsNames[:]) }
