//go:build linux

package session

// HelperMode says when fusermount3, the setuid mount helper, may be used.
type HelperMode int

const (
	HelperAuto   HelperMode = iota // after the direct ways were refused
	HelperNever                    // not at all
	HelperAlways                   // as the only way
)

// MountOptions are the mount options of libfuse as fields; the zero value is usable.
type MountOptions struct {
	FSName, Subtype                                                               string
	AllowOther, AllowRoot, AutoUnmount, DefaultPermissions, ReadOnly, BlockDevice bool
	MaxRead                                                                       uint32
	Raw                                                                           []string // further -o words
	Helper                                                                        HelperMode
	Device                                                                        string // "": $FUSE_KERN_DEVICE by libfuse's rule, else /dev/fuse
	Async                                                                         bool   // never use synchronous INIT
}

// ParseOption takes one unescaped -o word; known is false for words that are not mount options.
func (o *MountOptions) ParseOption(word string) (known bool, err error) { return false, nil }
