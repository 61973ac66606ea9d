//go:build linux

package wire

import "encoding/binary"

// The protocol version, and fixed identifiers.
const (
	KernelMajor = 7
	KernelMinor = 46 // newest minor this package knows
	IomapMinor  = 99 // minor of every kernel with the iomap extension

	RootID        = 1          // nodeid of the root directory
	InvalidUIDGID = 0xffffffff // InHeader.UID and GID on id-mapped mounts, except in creating requests

	UniqueInterrupt = 1       // set in InHeader.Unique of an INTERRUPT: the target's unique plus this bit
	UniqueResend    = 1 << 63 // set in InHeader.Unique of a request that NotifyResend queued again; must be echoed
)

// Limits of the protocol.
const (
	MinReadBuffer = 8192 // smallest buffer that can read the device
	MinError      = -511 // smallest OutHeader.Error of a reply

	NameLowMax   = 1024  // longest name in bytes, without its NUL, when a request has one page
	NameMax      = 4095  // longest name in bytes, without its NUL, when MaxPages above 1 was negotiated
	XattrSizeMax = 65536 // longest xattr value and list the kernel takes

	DefaultMaxPages            = 32 // pages a request has without InitMaxPages
	DefaultMaxPagesLimit       = 256
	DefaultMaxBackground       = 12
	DefaultCongestionThreshold = 9

	MaxIoctlIov     = 256  // areas an IOCTL retry can ask for, in and out together
	MaxNrSecctx     = 31   // largest SecctxHeader.NrSecctx; larger words are ExtHeader.Type
	ExtGroups       = 32   // ExtHeader.Type of SuppGroups
	CuseInitInfoMax = 4096 // longest device info that follows CuseInitOut
)

// Values of statfs(2)'s f_type.
const (
	SuperMagic    = 0x65735546 // a FUSE mount
	CtlSuperMagic = 0x65735543 // /sys/fs/fuse/connections
)

// Sizes of structs as older protocol minors, or a peer without the flag, have them: a prefix of today's struct.
const (
	CompatEntryOutSize   = 120 // EntryOut below 7.9
	CompatAttrOutSize    = 96  // AttrOut below 7.9
	CompatMknodInSize    = 8   // MknodIn below 7.12
	CompatWriteInSize    = 24  // WriteIn below 7.9
	CompatStatfsSize     = 48  // StatfsOut below 7.4
	CompatInitOutSize    = 8   // InitOut below 7.5
	Compat22InitOutSize  = 24  // InitOut from 7.5, below 7.23
	CompatSetxattrInSize = 8   // SetxattrIn without InitSetxattrExt
)

// Ioctls of the device.
const (
	DevIocClone        = 0x8004e500 // *uint32: attach this open device to the connection of that descriptor
	DevIocBackingOpen  = 0x4010e501 // *BackingMap: register a backing file; returns its id, above 0
	DevIocBackingClose = 0x4004e502 // *uint32: forget that id
	DevIocSyncInit     = 0xe503     // mounting waits for the INIT reply (Linux 6.18)
)

// Ioctls of the device in the iomap extension. Both numbering profiles have the same, but for the stripes.
const (
	DevIocIomapSupport      = 0x8010e563 // *IomapSupport, filled by the kernel
	DevIocSetNofs           = 0x4004e564 // *uint32: 1 keeps this thread from memory reclaim that enters filesystems, 0 allows it
	DevIocAddIomap          = 0xe565     // lets the later mount of this descriptor use iomap; privileged
	DevIocIomapSetBlocksize = 0x4008e566 // *IomapBackingInfo
	DevIocIomapStripeConfig = 0x4010e567 // *IomapBackingStripe with its strips; newest profile only
)

// What BackingMap.Flags says, and limits of the iomap extension.
const (
	BackingTypeMask          = 0xff // the part of BackingMap.Flags that says what the file is for
	BackingTypePassthrough   = 0
	BackingTypeIomap         = 1    // a block device for mappings
	IomapMaxBackings         = 1024 // device ids are 1 to this
	IomapBackingMaxStrips    = 256
	IomapCacheDefaultMaxSize = 256 << 10 // bytes of mapping cache an inode's fork has
)

// UringCmd is a command of FUSE over io_uring, the cmd_op of an IORING_OP_URING_CMD on the device.
type UringCmd uint32

// The io_uring commands.
const (
	UringCmdRegister       UringCmd = 1 // give the kernel an entry; completes with its first request
	UringCmdCommitAndFetch UringCmd = 2 // answer an entry's request; completes with the next one
	UringCmdAddQueue       UringCmd = 3 // make a queue with flags (7.46)
	UringCmdAddBufpool     UringCmd = 4 // give a queue one area for all its payloads (7.46)
)

// Sizes of the areas of UringReqHeader.
const (
	UringInOutHeaderSize = 128
	UringOpInOutSize     = 128
)

// String returns the kernel's name without FUSE_IO_URING_CMD_, "URING_CMD(77)" for a number without a name.
func (c UringCmd) String() string {
	switch c {
	case UringCmdRegister:
		return "REGISTER"
	case UringCmdCommitAndFetch:
		return "COMMIT_AND_FETCH"
	case UringCmdAddQueue:
		return "ADD_QUEUE"
	case UringCmdAddBufpool:
		return "ADD_BUFPOOL"
	}
	return unknownText("URING_CMD", int64(c))
}

// EntZeroCopyBufIndex returns the zero-copy slot that the union holds in REGISTER and COMMIT_AND_FETCH.
func (r *UringCmdReq) EntZeroCopyBufIndex() uint16 {
	var u [8]byte
	binary.NativeEndian.PutUint64(u[:], r.UAddr)
	return binary.NativeEndian.Uint16(u[:])
}

// SetEntZeroCopyBufIndex makes the union hold a zero-copy slot; the pool fields become zero.
func (r *UringCmdReq) SetEntZeroCopyBufIndex(slot uint16) {
	var u [8]byte
	binary.NativeEndian.PutUint16(u[:], slot)
	r.UAddr, r.Len, r.Reserved = binary.NativeEndian.Uint64(u[:]), 0, 0
}

// EncodeDev packs a device number as the ABI has it in Attr.Rdev and MknodIn.Rdev: 12 bits of major, 20 bits of minor.
func EncodeDev(major, minor uint32) uint32 {
	return minor&0xff | major&0xfff<<8 | minor&^0xff<<12
}

// DecodeDev takes a packed device number apart; see EncodeDev.
func DecodeDev(dev uint32) (major, minor uint32) {
	return dev >> 8 & 0xfff, dev&0xff | dev>>12&^0xff
}
