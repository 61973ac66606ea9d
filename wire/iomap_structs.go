//go:build linux

package wire

// The structs of the iomap extension. Those whose C struct ends unpadded are padded here, so that their layout is the same
// on
// every architecture.

// IomapConfigOutSize is the length of an IomapConfigOut up to its last field, and IomapIoendInV6Size that of an IOMAP_IOEND
// body that has the older layout.
const (
	IomapConfigOutSize = 100
	IomapIoendInV6Size = 40
)

// IomapIO is struct fuse_iomap_io, one mapping: a range of a file and where it is.
type IomapIO struct {
	Offset uint64
	Length uint64
	Addr   uint64
	Type   uint16
	Flags  uint16
	Dev    uint32
}

// IomapBeginIn is struct fuse_iomap_begin_in, the body of IOMAP_BEGIN; AttrIno is the Attr.Ino that the server last gave.
type IomapBeginIn struct {
	OpFlags  uint32
	Reserved uint32
	AttrIno  uint64
	Pos      uint64
	Count    uint64
}

// IomapBeginOut is struct fuse_iomap_begin_out, the answer to IOMAP_BEGIN; both slots must be valid.
type IomapBeginOut struct {
	Read  IomapIO
	Write IomapIO
}

// IomapEndIn is struct fuse_iomap_end_in, the body of IOMAP_END; Written is a count of bytes or a negative errno, Map the
// mapping that was used.
type IomapEndIn struct {
	OpFlags  uint32
	Reserved uint32
	AttrIno  uint64
	Pos      uint64
	Count    uint64
	Written  int64
	Map      IomapIO
}

// IomapIoendIn is struct fuse_iomap_ioend_in, the body of IOMAP_IOEND; Error is 0 or a negative errno, NewAddr only a hint:
// its unit differs between kernels.
type IomapIoendIn struct {
	Flags   uint32
	Error   int32
	AttrIno uint64
	Pos     uint64
	NewAddr uint64
	Written uint64
	Dev     uint32
	Pad     uint32
}

// IomapIoendInV6 is struct fuse_iomap_ioend_in, the body of IOMAP_IOEND of the patches of October 2025; its answer has no
// body.
type IomapIoendInV6 struct {
	Flags    uint32
	Error    int32
	AttrIno  uint64
	Pos      uint64
	NewAddr  uint64
	Written  uint32
	Reserved uint32
}

// IomapIoendOut is struct fuse_iomap_ioend_out, the answer to IOMAP_IOEND: the file's size on disk.
type IomapIoendOut struct {
	NewSize uint64
}

// IomapConfigIn is struct fuse_iomap_config_in, the body of IOMAP_CONFIG.
type IomapConfigIn struct {
	Flags         uint64
	MaxBytes      int64
	CacheMaxBytes uint32
	Zero          uint32
	Padding       [5]uint64
}

// IomapConfigOut is struct fuse_iomap_config_out, the answer to IOMAP_CONFIG, of which any prefix may be sent;
// IomapConfigOutSize bytes have all its fields, the rest is padding that not every architecture has.
type IomapConfigOut struct {
	Flags         uint64
	SID           [32]byte
	SUUID         [16]uint8
	SUUIDLen      uint8
	SPad          [3]uint8
	SBlockSize    uint32
	SMaxLinks     uint32
	STimeGran     uint32
	STimeMin      int64
	STimeMax      int64
	SMaxBytes     int64
	CacheMaxBytes uint32
	Pad           uint32
}

// Range is struct fuse_range, a range of bytes.
type Range struct {
	Offset uint64
	Length uint64
}

// IomapBackingInvalOut is struct fuse_iomap_backing_inval_out, the body of NotifyIomapBackingInval.
type IomapBackingInvalOut struct {
	Dev      uint32
	Reserved uint32
	Range    Range
}

// IomapUpsertMappingsOut is struct fuse_iomap_upsert_mappings_out, the body of NotifyIomapUpsertMappings.
type IomapUpsertMappingsOut struct {
	NodeID  uint64
	AttrIno uint64
	Read    IomapIO
	Write   IomapIO
}

// IomapInvalMappingsOut is struct fuse_iomap_inval_mappings_out, the body of NotifyIomapInvalMappings; a range of length 0
// is left alone.
type IomapInvalMappingsOut struct {
	NodeID  uint64
	AttrIno uint64
	Read    Range
	Write   Range
}

// IomapSupport is struct fuse_iomap_support, what DevIocIomapSupport fills.
type IomapSupport struct {
	Flags   uint64
	Padding uint64
}

// IomapBackingInfo is struct fuse_iomap_backing_info, the argument of DevIocIomapSetBlocksize.
type IomapBackingInfo struct {
	BackingID uint32
	BlockSize uint32
}

// IomapBackingStripe is struct fuse_iomap_backing_stripe, the argument of DevIocIomapStripeConfig; the strips follow.
type IomapBackingStripe struct {
	NrStrips   uint16
	Reserved   [6]uint8
	StripWidth uint64
}

// IomapBackingStrip is struct fuse_iomap_backing_strip, one strip of a stripe set.
type IomapBackingStrip struct {
	Dev      uint32
	Reserved uint32
	Addr     uint64
}

// FreezefsIn is struct fuse_freezefs_in, the body of FREEZE_FS: how many inodes are unlinked but open.
type FreezefsIn struct {
	Unlinked uint64
}

// ShutdownfsIn is struct fuse_shutdownfs_in, the body of SHUTDOWN_FS; Flags is 0.
type ShutdownfsIn struct {
	Flags uint64
}

// IomapStatx is struct fuse_statx as the iomap extension has it, with the layout of struct statx.
type IomapStatx struct {
	Mask                   uint32
	Blksize                uint32
	Attributes             uint64
	Nlink                  uint32
	UID                    uint32
	GID                    uint32
	Mode                   uint16
	Spare0                 [1]uint16
	Ino                    uint64
	Size                   uint64
	Blocks                 uint64
	AttributesMask         uint64
	Atime                  SxTime
	Btime                  SxTime
	Ctime                  SxTime
	Mtime                  SxTime
	RdevMajor              uint32
	RdevMinor              uint32
	DevMajor               uint32
	DevMinor               uint32
	MntID                  uint64
	DioMemAlign            uint32
	DioOffsetAlign         uint32
	Subvol                 uint64
	AtomicWriteUnitMin     uint32
	AtomicWriteUnitMax     uint32
	AtomicWriteSegmentsMax uint32
	DioReadOffsetAlign     uint32
	AtomicWriteUnitMaxOpt  uint32
	Spare2                 [1]uint32
	Spare3                 [8]uint64
}
