//go:build linux

package wire

// The structs of the FUSE ABI, field for field as the kernel lays them out. All are padded explicitly, so their layout is
// the same on every architecture; abi_test.go holds them against the offsets that the C compiler printed.

// Attr is struct fuse_attr (88 bytes).
type Attr struct {
	Ino       uint64
	Size      uint64
	Blocks    uint64
	Atime     uint64
	Mtime     uint64
	Ctime     uint64
	AtimeNsec uint32
	MtimeNsec uint32
	CtimeNsec uint32
	Mode      uint32
	Nlink     uint32
	UID       uint32
	GID       uint32
	Rdev      uint32
	Blksize   uint32
	Flags     uint32
}

// SxTime is struct fuse_sx_time (16 bytes).
type SxTime struct {
	TvSec    int64
	TvNsec   uint32
	Reserved int32
}

// Statx is struct fuse_statx (256 bytes).
type Statx struct {
	Mask           uint32
	Blksize        uint32
	Attributes     uint64
	Nlink          uint32
	UID            uint32
	GID            uint32
	Mode           uint16
	Spare0         [1]uint16
	Ino            uint64
	Size           uint64
	Blocks         uint64
	AttributesMask uint64
	Atime          SxTime
	Btime          SxTime
	Ctime          SxTime
	Mtime          SxTime
	RdevMajor      uint32
	RdevMinor      uint32
	DevMajor       uint32
	DevMinor       uint32
	Spare2         [14]uint64
}

// Kstatfs is struct fuse_kstatfs (80 bytes).
type Kstatfs struct {
	Blocks  uint64
	Bfree   uint64
	Bavail  uint64
	Files   uint64
	Ffree   uint64
	Bsize   uint32
	NameLen uint32
	Frsize  uint32
	Padding uint32
	Spare   [6]uint32
}

// FileLock is struct fuse_file_lock (24 bytes).
type FileLock struct {
	Start uint64
	End   uint64
	Type  uint32
	PID   uint32
}

// EntryOut is struct fuse_entry_out (128 bytes).
type EntryOut struct {
	NodeID         uint64
	Generation     uint64
	EntryValid     uint64
	AttrValid      uint64
	EntryValidNsec uint32
	AttrValidNsec  uint32
	Attr           Attr
}

// ForgetIn is struct fuse_forget_in (8 bytes).
type ForgetIn struct {
	NLookup uint64
}

// ForgetOne is struct fuse_forget_one (16 bytes).
type ForgetOne struct {
	NodeID  uint64
	NLookup uint64
}

// BatchForgetIn is struct fuse_batch_forget_in (8 bytes).
type BatchForgetIn struct {
	Count uint32
	Dummy uint32
}

// GetattrIn is struct fuse_getattr_in (16 bytes).
type GetattrIn struct {
	GetattrFlags uint32
	Dummy        uint32
	FH           uint64
}

// AttrOut is struct fuse_attr_out (104 bytes).
type AttrOut struct {
	AttrValid     uint64
	AttrValidNsec uint32
	Dummy         uint32
	Attr          Attr
}

// StatxIn is struct fuse_statx_in (24 bytes).
type StatxIn struct {
	GetattrFlags uint32
	Reserved     uint32
	FH           uint64
	SxFlags      uint32
	SxMask       uint32
}

// StatxOut is struct fuse_statx_out (288 bytes).
type StatxOut struct {
	AttrValid     uint64
	AttrValidNsec uint32
	Flags         uint32
	Spare         [2]uint64
	Stat          Statx
}

// MknodIn is struct fuse_mknod_in (16 bytes).
type MknodIn struct {
	Mode    uint32
	Rdev    uint32
	Umask   uint32
	Padding uint32
}

// MkdirIn is struct fuse_mkdir_in (8 bytes).
type MkdirIn struct {
	Mode  uint32
	Umask uint32
}

// RenameIn is struct fuse_rename_in (8 bytes).
type RenameIn struct {
	NewDir uint64
}

// Rename2In is struct fuse_rename2_in (16 bytes).
type Rename2In struct {
	NewDir  uint64
	Flags   uint32
	Padding uint32
}

// LinkIn is struct fuse_link_in (8 bytes).
type LinkIn struct {
	OldNodeID uint64
}

// SetattrIn is struct fuse_setattr_in (88 bytes).
type SetattrIn struct {
	Valid     uint32
	Padding   uint32
	FH        uint64
	Size      uint64
	LockOwner uint64
	Atime     uint64
	Mtime     uint64
	Ctime     uint64
	AtimeNsec uint32
	MtimeNsec uint32
	CtimeNsec uint32
	Mode      uint32
	Unused4   uint32
	UID       uint32
	GID       uint32
	Unused5   uint32
}

// OpenIn is struct fuse_open_in (8 bytes).
type OpenIn struct {
	Flags     uint32
	OpenFlags uint32
}

// CreateIn is struct fuse_create_in (16 bytes).
type CreateIn struct {
	Flags     uint32
	Mode      uint32
	Umask     uint32
	OpenFlags uint32
}

// OpenOut is struct fuse_open_out (16 bytes).
type OpenOut struct {
	FH        uint64
	OpenFlags uint32
	BackingID int32
}

// ReleaseIn is struct fuse_release_in (24 bytes).
type ReleaseIn struct {
	FH           uint64
	Flags        uint32
	ReleaseFlags uint32
	LockOwner    uint64
}

// FlushIn is struct fuse_flush_in (24 bytes).
type FlushIn struct {
	FH        uint64
	Unused    uint32
	Padding   uint32
	LockOwner uint64
}

// ReadIn is struct fuse_read_in (40 bytes).
type ReadIn struct {
	FH        uint64
	Offset    uint64
	Size      uint32
	ReadFlags uint32
	LockOwner uint64
	Flags     uint32
	Padding   uint32
}

// WriteIn is struct fuse_write_in (40 bytes).
type WriteIn struct {
	FH         uint64
	Offset     uint64
	Size       uint32
	WriteFlags uint32
	LockOwner  uint64
	Flags      uint32
	Padding    uint32
}

// WriteOut is struct fuse_write_out (8 bytes).
type WriteOut struct {
	Size    uint32
	Padding uint32
}

// StatfsOut is struct fuse_statfs_out (80 bytes).
type StatfsOut struct {
	St Kstatfs
}

// FsyncIn is struct fuse_fsync_in (16 bytes).
type FsyncIn struct {
	FH         uint64
	FsyncFlags uint32
	Padding    uint32
}

// SetxattrIn is struct fuse_setxattr_in (16 bytes).
type SetxattrIn struct {
	Size          uint32
	Flags         uint32
	SetxattrFlags uint32
	Padding       uint32
}

// GetxattrIn is struct fuse_getxattr_in (8 bytes).
type GetxattrIn struct {
	Size    uint32
	Padding uint32
}

// GetxattrOut is struct fuse_getxattr_out (8 bytes).
type GetxattrOut struct {
	Size    uint32
	Padding uint32
}

// LKIn is struct fuse_lk_in (48 bytes).
type LKIn struct {
	FH      uint64
	Owner   uint64
	LK      FileLock
	LKFlags uint32
	Padding uint32
}

// LKOut is struct fuse_lk_out (24 bytes).
type LKOut struct {
	LK FileLock
}

// AccessIn is struct fuse_access_in (8 bytes).
type AccessIn struct {
	Mask    uint32
	Padding uint32
}

// InitIn is struct fuse_init_in (64 bytes).
type InitIn struct {
	Major        uint32
	Minor        uint32
	MaxReadahead uint32
	Flags        uint32
	Flags2       uint32
	Unused       [11]uint32
}

// InitOut is struct fuse_init_out (64 bytes).
type InitOut struct {
	Major               uint32
	Minor               uint32
	MaxReadahead        uint32
	Flags               uint32
	MaxBackground       uint16
	CongestionThreshold uint16
	MaxWrite            uint32
	TimeGran            uint32
	MaxPages            uint16
	MapAlignment        uint16
	Flags2              uint32
	MaxStackDepth       uint32
	RequestTimeout      uint16
	Unused              [11]uint16
}

// CuseInitIn is struct cuse_init_in (16 bytes).
type CuseInitIn struct {
	Major  uint32
	Minor  uint32
	Unused uint32
	Flags  uint32
}

// CuseInitOut is struct cuse_init_out (72 bytes).
type CuseInitOut struct {
	Major    uint32
	Minor    uint32
	Unused   uint32
	Flags    uint32
	MaxRead  uint32
	MaxWrite uint32
	DevMajor uint32
	DevMinor uint32
	Spare    [10]uint32
}

// InterruptIn is struct fuse_interrupt_in (8 bytes).
type InterruptIn struct {
	Unique uint64
}

// BmapIn is struct fuse_bmap_in (16 bytes).
type BmapIn struct {
	Block     uint64
	BlockSize uint32
	Padding   uint32
}

// BmapOut is struct fuse_bmap_out (8 bytes).
type BmapOut struct {
	Block uint64
}

// IoctlIn is struct fuse_ioctl_in (32 bytes).
type IoctlIn struct {
	FH      uint64
	Flags   uint32
	Cmd     uint32
	Arg     uint64
	InSize  uint32
	OutSize uint32
}

// IoctlIovec is struct fuse_ioctl_iovec (16 bytes).
type IoctlIovec struct {
	Base uint64
	Len  uint64
}

// IoctlOut is struct fuse_ioctl_out (16 bytes).
type IoctlOut struct {
	Result  int32
	Flags   uint32
	InIovs  uint32
	OutIovs uint32
}

// PollIn is struct fuse_poll_in (24 bytes).
type PollIn struct {
	FH     uint64
	KH     uint64
	Flags  uint32
	Events uint32
}

// PollOut is struct fuse_poll_out (8 bytes).
type PollOut struct {
	Revents uint32
	Padding uint32
}

// NotifyPollWakeupOut is struct fuse_notify_poll_wakeup_out (8 bytes).
type NotifyPollWakeupOut struct {
	KH uint64
}

// FallocateIn is struct fuse_fallocate_in (32 bytes).
type FallocateIn struct {
	FH      uint64
	Offset  uint64
	Length  uint64
	Mode    uint32
	Padding uint32
}

// InHeader is struct fuse_in_header (40 bytes).
type InHeader struct {
	Len         uint32
	Opcode      uint32
	Unique      uint64
	NodeID      uint64
	UID         uint32
	GID         uint32
	PID         uint32
	TotalExtLen uint16
	Padding     uint16
}

// OutHeader is struct fuse_out_header (16 bytes).
type OutHeader struct {
	Len    uint32
	Error  int32
	Unique uint64
}

// Dirent is struct fuse_dirent (24 bytes).
type Dirent struct {
	Ino     uint64
	Off     uint64
	NameLen uint32
	Type    uint32
}

// Direntplus is struct fuse_direntplus (152 bytes).
type Direntplus struct {
	EntryOut EntryOut
	Dirent   Dirent
}

// NotifyInvalInodeOut is struct fuse_notify_inval_inode_out (24 bytes).
type NotifyInvalInodeOut struct {
	Ino uint64
	Off int64
	Len int64
}

// NotifyInvalEntryOut is struct fuse_notify_inval_entry_out (16 bytes).
type NotifyInvalEntryOut struct {
	Parent  uint64
	NameLen uint32
	Flags   uint32
}

// NotifyDeleteOut is struct fuse_notify_delete_out (24 bytes).
type NotifyDeleteOut struct {
	Parent  uint64
	Child   uint64
	NameLen uint32
	Padding uint32
}

// NotifyStoreOut is struct fuse_notify_store_out (24 bytes).
type NotifyStoreOut struct {
	NodeID  uint64
	Offset  uint64
	Size    uint32
	Padding uint32
}

// NotifyRetrieveOut is struct fuse_notify_retrieve_out (32 bytes).
type NotifyRetrieveOut struct {
	NotifyUnique uint64
	NodeID       uint64
	Offset       uint64
	Size         uint32
	Padding      uint32
}

// NotifyRetrieveIn is struct fuse_notify_retrieve_in (40 bytes).
type NotifyRetrieveIn struct {
	Dummy1 uint64
	Offset uint64
	Size   uint32
	Dummy2 uint32
	Dummy3 uint64
	Dummy4 uint64
}

// NotifyPruneOut is struct fuse_notify_prune_out (16 bytes).
type NotifyPruneOut struct {
	Count   uint32
	Padding uint32
	Spare   uint64
}

// BackingMap is struct fuse_backing_map (16 bytes).
type BackingMap struct {
	FD      int32
	Flags   uint32
	Padding uint64
}

// LseekIn is struct fuse_lseek_in (24 bytes).
type LseekIn struct {
	FH      uint64
	Offset  uint64
	Whence  uint32
	Padding uint32
}

// LseekOut is struct fuse_lseek_out (8 bytes).
type LseekOut struct {
	Offset uint64
}

// CopyFileRangeIn is struct fuse_copy_file_range_in (56 bytes).
type CopyFileRangeIn struct {
	FHIn      uint64
	OffIn     uint64
	NodeIDOut uint64
	FHOut     uint64
	OffOut    uint64
	Len       uint64
	Flags     uint64
}

// CopyFileRangeOut is struct fuse_copy_file_range_out (8 bytes).
type CopyFileRangeOut struct {
	BytesCopied uint64
}

// SetupmappingIn is struct fuse_setupmapping_in (40 bytes).
type SetupmappingIn struct {
	FH      uint64
	FOffset uint64
	Len     uint64
	Flags   uint64
	MOffset uint64
}

// RemovemappingIn is struct fuse_removemapping_in (4 bytes).
type RemovemappingIn struct {
	Count uint32
}

// RemovemappingOne is struct fuse_removemapping_one (16 bytes).
type RemovemappingOne struct {
	MOffset uint64
	Len     uint64
}

// SyncfsIn is struct fuse_syncfs_in (8 bytes).
type SyncfsIn struct {
	Padding uint64
}

// Secctx is struct fuse_secctx (8 bytes).
type Secctx struct {
	Size    uint32
	Padding uint32
}

// SecctxHeader is struct fuse_secctx_header (8 bytes).
type SecctxHeader struct {
	Size     uint32
	NrSecctx uint32
}

// ExtHeader is struct fuse_ext_header (8 bytes).
type ExtHeader struct {
	Size uint32
	Type uint32
}

// SuppGroups is struct fuse_supp_groups (4 bytes).
type SuppGroups struct {
	NrGroups uint32
}

// UringEntInOut is struct fuse_uring_ent_in_out (32 bytes).
type UringEntInOut struct {
	Flags     uint64
	CommitID  uint64
	PayloadSz uint32
	Offset    uint32
	Reserved  uint64
}

// UringReqHeader is struct fuse_uring_req_header (288 bytes).
type UringReqHeader struct {
	InOut        [128]byte
	OpIn         [128]byte
	RingEntInOut UringEntInOut
}

// UringCmdReq is struct fuse_uring_cmd_req (40 bytes), the command area of an io_uring request to the device. Its last 16
// bytes are a union: a buffer pool's address and length (ADD_BUFPOOL), or the slot of the registered buffer table that a
// zero-copy entry uses (REGISTER, COMMIT_AND_FETCH); see EntZeroCopyBufIndex.
type UringCmdReq struct {
	Flags    uint64
	CommitID uint64
	QID      uint16
	Padding  [6]uint8
	UAddr    uint64
	Len      uint32
	Reserved uint32
}
