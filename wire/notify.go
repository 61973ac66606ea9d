//go:build linux

package wire

// NotifyCode says what a message from the server to the kernel is that answers no request: it travels in OutHeader.Error
// with OutHeader.Unique 0.
type NotifyCode int32

// The notification codes, with the body that follows the header.
const (
	NotifyPoll       NotifyCode = 1 // NotifyPollWakeupOut (7.11)
	NotifyInvalInode NotifyCode = 2 // NotifyInvalInodeOut (7.12)
	NotifyInvalEntry NotifyCode = 3 // NotifyInvalEntryOut, name, NUL (7.12)
	NotifyStore      NotifyCode = 4 // NotifyStoreOut, data (7.15)
	NotifyRetrieve   NotifyCode = 5 // NotifyRetrieveOut; the data come as OpNotifyReply (7.15)
	NotifyDelete     NotifyCode = 6 // NotifyDeleteOut, name, NUL (7.18)
	NotifyResend     NotifyCode = 7 // no body (7.40)
	NotifyIncEpoch   NotifyCode = 8 // no body (7.44)
	NotifyPrune      NotifyCode = 9 // NotifyPruneOut, nodeids of 8 bytes (7.45)
)

// Notification codes of the iomap extension; the numbers are the same in both numbering profiles.
const (
	NotifyIomapBackingInval   NotifyCode = 99  // IomapBackingInvalOut; IOMAP_DEV_INVAL in the v7 profile
	NotifyIomapUpsertMappings NotifyCode = 100 // IomapUpsertMappingsOut
	NotifyIomapInvalMappings  NotifyCode = 101 // IomapInvalMappingsOut
)

// String returns the kernel's name without FUSE_NOTIFY_ ("INVAL_INODE"), "NOTIFY(77)" for a number without a name.
func (c NotifyCode) String() string {
	switch c {
	case NotifyPoll:
		return "POLL"
	case NotifyInvalInode:
		return "INVAL_INODE"
	case NotifyInvalEntry:
		return "INVAL_ENTRY"
	case NotifyStore:
		return "STORE"
	case NotifyRetrieve:
		return "RETRIEVE"
	case NotifyDelete:
		return "DELETE"
	case NotifyResend:
		return "RESEND"
	case NotifyIncEpoch:
		return "INC_EPOCH"
	case NotifyPrune:
		return "PRUNE"
	case NotifyIomapBackingInval:
		return "IOMAP_BACKING_INVAL"
	case NotifyIomapUpsertMappings:
		return "IOMAP_UPSERT_MAPPINGS"
	case NotifyIomapInvalMappings:
		return "IOMAP_INVAL_MAPPINGS"
	}
	return unknownText("NOTIFY", int64(c))
}
