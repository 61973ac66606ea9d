//go:build linux

package wire

// The iomap extension exists only in patches, and its numbers moved between two of their versions. Nothing on the wire tells
// the versions apart, so whoever speaks iomap is told which one the kernel has.

// IomapProfile is a numbering of the iomap extension: kernels with either say minor IomapMinor.
type IomapProfile uint8

// The numbering profiles. Everything without V7 in its name is the newest profile or the same in both.
const (
	IomapNewest IomapProfile = iota // the kernel tree of May 2026
	IomapV7                         // the patches of February 2026
)

// String returns "newest" or "v7".
func (p IomapProfile) String() string {
	switch p {
	case IomapNewest:
		return "newest"
	case IomapV7:
		return "v7"
	}
	return unknownText("PROFILE", int64(p))
}

// IomapType is what a mapping maps to (IomapIO.Type).
type IomapType uint16

// The mapping types.
const (
	IomapTypeHole      IomapType = 0
	IomapTypeDelalloc  IomapType = 1 // space reserved, no address yet
	IomapTypeMapped    IomapType = 2
	IomapTypeUnwritten IomapType = 3 // allocated, reads as zero
	IomapTypeInline    IomapType = 4 // data are in metadata: the kernel uses READ and WRITE

	IomapTypePureOverwrite   IomapType = 65535 // write slot only: the same as the read mapping
	IomapTypeRetryCache      IomapType = 65534 // IOMAP_BEGIN's reply only: the mapping is in the kernel's cache, look there again
	IomapTypeNocache         IomapType = 65533 // upsert only: leave this slot of the cache alone
	IomapTypeMappedStripe    IomapType = 65532 // Dev is a stripe set
	IomapTypeUnwrittenStripe IomapType = 65531 // Dev is a stripe set

	IomapTypeV7PureOverwrite IomapType = 255
	IomapTypeV7RetryCache    IomapType = 254
	IomapTypeV7Nocache       IomapType = 253
)

// ToWire returns the number that the profile has for a type of the newest profile.
func (t IomapType) ToWire(p IomapProfile) IomapType {
	if p == IomapV7 {
		switch t {
		case IomapTypePureOverwrite:
			return IomapTypeV7PureOverwrite
		case IomapTypeRetryCache:
			return IomapTypeV7RetryCache
		case IomapTypeNocache:
			return IomapTypeV7Nocache
		}
	}
	return t
}

// FromWire returns the newest profile's number for a type that the profile has on the wire.
func (t IomapType) FromWire(p IomapProfile) IomapType {
	if p == IomapV7 {
		switch t {
		case IomapTypeV7PureOverwrite:
			return IomapTypePureOverwrite
		case IomapTypeV7RetryCache:
			return IomapTypeRetryCache
		case IomapTypeV7Nocache:
			return IomapTypeNocache
		}
	}
	return t
}

// String returns the newest profile's name, "TYPE(77)" for a number without one; call FromWire first for another profile.
func (t IomapType) String() string {
	switch t {
	case IomapTypeHole:
		return "HOLE"
	case IomapTypeDelalloc:
		return "DELALLOC"
	case IomapTypeMapped:
		return "MAPPED"
	case IomapTypeUnwritten:
		return "UNWRITTEN"
	case IomapTypeInline:
		return "INLINE"
	case IomapTypePureOverwrite:
		return "PURE_OVERWRITE"
	case IomapTypeRetryCache:
		return "RETRY_CACHE"
	case IomapTypeNocache:
		return "NOCACHE"
	case IomapTypeMappedStripe:
		return "MAPPED_STRIPE"
	case IomapTypeUnwrittenStripe:
		return "UNWRITTEN_STRIPE"
	}
	return unknownText("TYPE", int64(t))
}

// Fixed values in mappings and ranges.
const (
	IomapNullAddr   uint64 = 1<<64 - 1 // IomapIO.Addr where there is no address
	IomapDevNull    uint32 = 0         // IomapIO.Dev where there is no device
	IomapInvalToEOF uint64 = 1<<64 - 1 // Range.Length up to the end of the file
)

// IomapFlags are the properties of a mapping (IomapIO.Flags).
type IomapFlags uint16

// The bits of IomapFlags.
const (
	IomapFNew          IomapFlags = 1 << 0 // freshly allocated: zero around the write
	IomapFDirty        IomapFlags = 1 << 1 // metadata not committed
	IomapFShared       IomapFlags = 1 << 2 // blocks are shared: a write goes elsewhere
	IomapFMerged       IomapFlags = 1 << 3 // several records on disk; FIEMAP shows it
	IomapFBoundary     IomapFlags = 1 << 4 // no I/O across the start of this mapping
	IomapFAnonWrite    IomapFlags = 1 << 5 // the device picks the address when writing
	IomapFAtomicBio    IomapFlags = 1 << 6 // untorn write
	IomapFWantIomapEnd IomapFlags = 1 << 7 // always send IOMAP_END
	IomapFSizeChanged  IomapFlags = 1 << 8 // kernel only: the write moved the file's end
	IomapFStale        IomapFlags = 1 << 9 // kernel only: found stale, will be retried

	IomapFServerMask IomapFlags = 0xff // bits a server may set; others in its reply are EUCLEAN
)

var iomapFlagsNames = [...]string{
	"NEW", "DIRTY", "SHARED", "MERGED", "BOUNDARY", "ANON_WRITE", "ATOMIC_BIO", "WANT_IOMAP_END", "SIZE_CHANGED",
	"STALE",
}

// String returns the names of the set bits.
func (f IomapFlags) String() string { return flagText(f, iomapFlagsNames[:]) }

// IomapOpFlags are what the kernel wants a mapping for (IomapBeginIn.OpFlags, IomapEndIn.OpFlags).
type IomapOpFlags uint32

// The bits of IomapOpFlags.
const (
	IomapOpWrite         IomapOpFlags = 1 << 0
	IomapOpZero          IomapOpFlags = 1 << 1 // zeroing; holes may stay
	IomapOpReport        IomapOpFlags = 1 << 2 // FIEMAP, SEEK_DATA, SEEK_HOLE, FIBMAP, swapon: look up only
	IomapOpFault         IomapOpFlags = 1 << 3 // page fault
	IomapOpDirect        IomapOpFlags = 1 << 4
	IomapOpNowait        IomapOpFlags = 1 << 5 // never reaches a server
	IomapOpOverwriteOnly IomapOpFlags = 1 << 6 // allocate and convert nothing
	IomapOpUnshare       IomapOpFlags = 1 << 7
	IomapOpDAX           IomapOpFlags = 1 << 8
	IomapOpAtomic        IomapOpFlags = 1 << 9 // untorn write
	IomapOpDontcache     IomapOpFlags = 1 << 10
	IomapOpWriteback     IomapOpFlags = 1 << 11 // page-cache writeback asks for the final mapping
	IomapOpSwapfile      IomapOpFlags = 1 << 31 // swapon, together with IomapOpReport

	IomapOpV7Swapfile  IomapOpFlags = 1 << 30
	IomapOpV7Writeback IomapOpFlags = 1 << 31
)

const (
	iomapOpsMoved   = IomapOpWriteback | IomapOpSwapfile
	iomapOpsMovedV7 = IomapOpV7Writeback | IomapOpV7Swapfile
)

// ToWire returns the word that the profile has for flags of the newest profile.
func (f IomapOpFlags) ToWire(p IomapProfile) IomapOpFlags {
	if p != IomapV7 {
		return f
	}
	v := f &^ iomapOpsMoved
	if f&IomapOpWriteback != 0 {
		v |= IomapOpV7Writeback
	}
	if f&IomapOpSwapfile != 0 {
		v |= IomapOpV7Swapfile
	}
	return v
}

// FromWire returns the newest profile's flags for a word that the profile has on the wire.
func (f IomapOpFlags) FromWire(p IomapProfile) IomapOpFlags {
	if p != IomapV7 {
		return f
	}
	v := f &^ iomapOpsMovedV7
	if f&IomapOpV7Writeback != 0 {
		v |= IomapOpWriteback
	}
	if f&IomapOpV7Swapfile != 0 {
		v |= IomapOpSwapfile
	}
	return v
}

var iomapOpFlagsNames = [...]string{
	"WRITE", "ZERO", "REPORT", "FAULT", "DIRECT", "NOWAIT", "OVERWRITE_ONLY", "UNSHARE", "DAX", "ATOMIC", "DONTCACHE", "WRITEBACK",
	31: "SWAPFILE",
}

// String returns the newest profile's names of the set bits; call FromWire first for another profile.
func (f IomapOpFlags) String() string { return flagText(f, iomapOpFlagsNames[:]) }

// IomapIoendFlags are what ended (IomapIoendIn.Flags).
type IomapIoendFlags uint32

// The bits of IomapIoendFlags.
const (
	IomapIoendShared    IomapIoendFlags = 1 << 0
	IomapIoendUnwritten IomapIoendFlags = 1 << 1
	IomapIoendBoundary  IomapIoendFlags = 1 << 2 // no kernel sets it
	IomapIoendDirect    IomapIoendFlags = 1 << 3
	IomapIoendAppend    IomapIoendFlags = 1 << 4
	IomapIoendWriteback IomapIoendFlags = 1 << 5
	IomapIoendSwapoff   IomapIoendFlags = 1 << 6
)

var iomapIoendFlagsNames = [...]string{"SHARED", "UNWRITTEN", "BOUNDARY", "DIRECT", "APPEND", "WRITEBACK", "SWAPOFF"}

// String returns the names of the set bits.
func (f IomapIoendFlags) String() string { return flagText(f, iomapIoendFlagsNames[:]) }

// IomapConfigFlags are which fields of IomapConfigOut count, and which ones the kernel understands (IomapConfigIn.Flags).
type IomapConfigFlags uint64

// The bits of IomapConfigFlags.
const (
	IomapConfigSID           IomapConfigFlags = 1 << 0
	IomapConfigUUID          IomapConfigFlags = 1 << 1
	IomapConfigBlocksize     IomapConfigFlags = 1 << 2
	IomapConfigMaxLinks      IomapConfigFlags = 1 << 3
	IomapConfigTime          IomapConfigFlags = 1 << 4
	IomapConfigMaxbytes      IomapConfigFlags = 1 << 5
	IomapConfigCacheMaxbytes IomapConfigFlags = 1 << 6
)

var iomapConfigFlagsNames = [...]string{"SID", "UUID", "BLOCKSIZE", "MAX_LINKS", "TIME", "MAXBYTES", "CACHE_MAXBYTES"}

// String returns the names of the set bits.
func (f IomapConfigFlags) String() string { return flagText(f, iomapConfigFlagsNames[:]) }

// IomapSupportFlags are what a kernel can do (IomapSupport.Flags).
type IomapSupportFlags uint64

// The bits of IomapSupportFlags.
const (
	IomapSupportFileio IomapSupportFlags = 1 << 0 // mappings of regular files
	IomapSupportAtomic IomapSupportFlags = 1 << 1 // untorn writes
)

var iomapSupportFlagsNames = [...]string{"FILEIO", "ATOMIC"}

// String returns the names of the set bits.
func (f IomapSupportFlags) String() string { return flagText(f, iomapSupportFlagsNames[:]) }
