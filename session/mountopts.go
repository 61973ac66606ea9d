//go:build linux

package session

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/purefuse/purefuse/internal/sys"
)

// HelperMode says when fusermount3, the setuid mount helper, may be used.
type HelperMode int

const (
	HelperAuto   HelperMode = iota // after the direct ways were refused
	HelperNever                    // not at all
	HelperAlways                   // as the only way
)

// MountOptions are libfuse's mount options as fields; the zero value is usable and mounts nosuid, nodev.
type MountOptions struct {
	// FSName is the source shown in mountinfo; "" is the subtype, or else the device's path. With BlockDevice it is
	// the block device.
	FSName string
	// Subtype makes the type fuse.SUBTYPE.
	Subtype string
	// AllowOther lets other users in. For non-root the helper wants user_allow_other in /etc/fuse.conf.
	AllowOther bool
	// AllowRoot lets root in beside the owner; the kernel sees allow_other and the session refuses the rest.
	AllowRoot bool
	// AutoUnmount has fusermount3 watch this process and unmount when it ends, however it ends.
	AutoUnmount bool
	// DefaultPermissions has the kernel check access by mode bits, owner and ACL.
	DefaultPermissions bool
	ReadOnly           bool
	// BlockDevice makes the type fuseblk: FSName is locked for this mount, unmounting waits for FUSE_DESTROY. Root only.
	BlockDevice bool
	// MaxRead bounds a READ request in bytes, 0: the kernel's default. It must equal the one that FUSE_INIT settles.
	MaxRead uint32
	// Raw are further -o words, not escaped: [no]suid, [no]dev, [no]exec, sync, async, dirsync, noatime, nodiratime,
	// nostrictatime, [no]symfollow, blksize=, context=, fscontext=, defcontext=, rootcontext=, and user=, -n and x-*,
	// which only mount tables know. Every word that ParseOption knows is accepted; later ones win.
	Raw []string
	// Helper says when fusermount3 may be used.
	Helper HelperMode
	// Device is the path of the FUSE device; "" is $FUSE_KERN_DEVICE, if that begins with /dev/ and is not something
	// else than a character device, or else /dev/fuse.
	Device string
	// Async keeps FUSE_INIT out of the mount call on kernels that have it there (6.18).
	Async bool
}

// mountFlag is a -o word that sets or clears one of the generic mount flags.
type mountFlag struct {
	word   string
	on     bool
	ms     uintptr // for mount(2)
	attr   int     // for fsmount(2), or
	config string  // for fsconfig(2)
}

var mountFlags = []mountFlag{
	{"rw", false, sys.MS_RDONLY, sys.MOUNT_ATTR_RDONLY, "ro"},
	{"ro", true, sys.MS_RDONLY, sys.MOUNT_ATTR_RDONLY, "ro"},
	{"suid", false, sys.MS_NOSUID, sys.MOUNT_ATTR_NOSUID, ""},
	{"nosuid", true, sys.MS_NOSUID, sys.MOUNT_ATTR_NOSUID, ""},
	{"dev", false, sys.MS_NODEV, sys.MOUNT_ATTR_NODEV, ""},
	{"nodev", true, sys.MS_NODEV, sys.MOUNT_ATTR_NODEV, ""},
	{"exec", false, sys.MS_NOEXEC, sys.MOUNT_ATTR_NOEXEC, ""},
	{"noexec", true, sys.MS_NOEXEC, sys.MOUNT_ATTR_NOEXEC, ""},
	{"async", false, sys.MS_SYNCHRONOUS, 0, "sync"},
	{"sync", true, sys.MS_SYNCHRONOUS, 0, "sync"},
	{"dirsync", true, sys.MS_DIRSYNC, 0, "dirsync"},
	{"noatime", true, sys.MS_NOATIME, sys.MOUNT_ATTR_NOATIME, ""},
	{"nodiratime", true, sys.MS_NODIRATIME, sys.MOUNT_ATTR_NODIRATIME, ""},
	{"nostrictatime", false, sys.MS_STRICTATIME, sys.MOUNT_ATTR_STRICTATIME, ""},
	{"symfollow", false, sys.MS_NOSYMFOLLOW, sys.MOUNT_ATTR_NOSYMFOLLOW, ""},
	{"nosymfollow", true, sys.MS_NOSYMFOLLOW, sys.MOUNT_ATTR_NOSYMFOLLOW, ""},
}

// kernelWords are the options with a value that go to the kernel as they are.
var kernelWords = []string{"blksize", "context", "fscontext", "defcontext", "rootcontext"}

// ParseOption takes one -o word, not escaped and without the commas around it, as libfuse's mount code does. known is
// false for a word that is not a mount option, which is the caller's to report; such a word changes nothing.
func (o *MountOptions) ParseOption(word string) (known bool, err error) {
	key, value, hasValue := strings.Cut(word, "=")
	switch {
	case strings.IndexByte(word, 0) >= 0:
		return false, errors.New("fuse: option contains a NUL byte")
	case word == "allow_other":
		o.AllowOther = true
	case word == "allow_root":
		o.AllowRoot = true
	case word == "auto_unmount":
		o.AutoUnmount = true
	case word == "default_permissions":
		o.DefaultPermissions = true
	case word == "blkdev":
		o.BlockDevice = true
	case word == "ro", word == "-r":
		o.ReadOnly = true
	case word == "rw":
		o.ReadOnly = false
	case hasValue && key == "fsname":
		o.FSName = value
	case hasValue && key == "subtype":
		o.Subtype = value
	case hasValue && key == "max_read":
		n, err := parseUint(value)
		if err != nil {
			return true, fmt.Errorf("fuse: invalid parameter in option `%s'", word)
		}
		o.MaxRead = n
	case hasValue && slices.Contains(kernelWords, key),
		!hasValue && slices.ContainsFunc(mountFlags, func(f mountFlag) bool { return f.word == word }),
		hasValue && key == "user", word == "-n", strings.HasPrefix(word, "x-"):
		o.Raw = append(o.Raw, word)
	default:
		return false, nil
	}
	return true, nil
}

// parseUint reads a number as the kernel reads it in a mount option: decimal, 0x… or 0….
func parseUint(s string) (uint32, error) {
	if strings.ContainsAny(s, "_+bBoO") && !strings.HasPrefix(strings.ToLower(s), "0x") || strings.Contains(s, "_") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s, 0, 32)
	return uint32(n), err
}

// flat is o with the words of Raw that have a field moved there.
func (o *MountOptions) flat() (*MountOptions, error) {
	f := *o
	f.Raw = nil
	for _, w := range o.Raw {
		known, err := f.ParseOption(w)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, fmt.Errorf("fuse: unknown option(s): `%s'", w)
		}
	}
	for _, s := range []string{f.FSName, f.Subtype} {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, errors.New("fuse: option contains a NUL byte")
		}
	}
	if f.BlockDevice && f.FSName == "" {
		return nil, errors.New("fuse: option blkdev needs fsname=DEVICE")
	}
	if f.AutoUnmount && f.Helper == HelperNever {
		return nil, errors.New("fuse: option auto_unmount needs fusermount3, which the mount options rule out")
	}
	return &f, nil
}

// words is o as -o words, not escaped, without what only libfuse's mount code or a mount table understands. Parsing
// them gives o again.
func (o *MountOptions) words() (w []string) {
	for _, b := range []struct {
		set  bool
		word string
	}{
		{o.ReadOnly, "ro"}, {o.AllowOther, "allow_other"}, {o.AllowRoot, "allow_root"},
		{o.AutoUnmount, "auto_unmount"}, {o.DefaultPermissions, "default_permissions"}, {o.BlockDevice, "blkdev"},
		{o.MaxRead != 0, "max_read=" + strconv.FormatUint(uint64(o.MaxRead), 10)},
		{o.FSName != "", "fsname=" + o.FSName}, {o.Subtype != "", "subtype=" + o.Subtype},
	} {
		if b.set {
			w = append(w, b.word)
		}
	}
	return append(w, o.Raw...)
}

// helperOptions is the -o argument for fusermount3, "" when there is nothing to say.
func (o *MountOptions) helperOptions() string {
	h := *o
	h.AllowOther, h.AllowRoot = o.AllowOther || o.AllowRoot, false
	h.Raw = slices.DeleteFunc(slices.Clone(o.Raw), func(w string) bool {
		// Its defaults, and words of mount tables, which some versions take for unknown.
		return w == "-n" || strings.HasPrefix(w, "user=") || strings.HasPrefix(w, "x-") ||
			w == "symfollow" || w == "nostrictatime"
	})
	w := h.words()
	for i := range w {
		w[i] = escapeOption(w[i])
	}
	return strings.Join(w, ",")
}

var optionEscaper = strings.NewReplacer(`\`, `\\`, `,`, `\,`)

// escapeOption makes word one element of a comma separated -o list.
func escapeOption(word string) string { return optionEscaper.Replace(word) }

// msFlags are the flags for mount(2).
func (o *MountOptions) msFlags() uintptr {
	flags := uintptr(sys.MS_NOSUID | sys.MS_NODEV)
	if o.ReadOnly {
		flags |= sys.MS_RDONLY
	}
	for f := range o.rawFlags {
		if f.on {
			flags |= f.ms
		} else {
			flags &^= f.ms
		}
	}
	return flags
}

// attrs are the attributes for fsmount(2), and config the flags that fsconfig(2) takes instead or as well.
func (o *MountOptions) attrs() (attrs int, config []string) {
	attrs = sys.MOUNT_ATTR_NOSUID | sys.MOUNT_ATTR_NODEV
	if o.ReadOnly {
		attrs |= sys.MOUNT_ATTR_RDONLY
		config = append(config, "ro")
	}
	for f := range o.rawFlags {
		config = slices.DeleteFunc(config, func(c string) bool { return c == f.config })
		if f.on {
			attrs |= f.attr
			if f.config != "" {
				config = append(config, f.config)
			}
		} else {
			attrs &^= f.attr
		}
	}
	return attrs, config
}

// rawFlags yields the flags among the Raw words in their order.
func (o *MountOptions) rawFlags(yield func(mountFlag) bool) {
	for _, w := range o.Raw {
		i := slices.IndexFunc(mountFlags, func(f mountFlag) bool { return f.word == w })
		if i >= 0 && !yield(mountFlags[i]) {
			return
		}
	}
}

// kernelOption is a parameter of the file system itself.
type kernelOption struct {
	key, value string
	flag       bool // no value
}

// kernelOptions are the parameters of fs/fuse and the security modules, in the order in which libfuse gives them.
func (o *MountOptions) kernelOptions(fd uintptr, rootmode uint32, uid, gid int) []kernelOption {
	var k []kernelOption
	if o.DefaultPermissions {
		k = append(k, kernelOption{"default_permissions", "", true})
	}
	if o.AllowOther || o.AllowRoot {
		k = append(k, kernelOption{"allow_other", "", true})
	}
	if o.MaxRead != 0 {
		k = append(k, kernelOption{"max_read", strconv.FormatUint(uint64(o.MaxRead), 10), false})
	}
	for _, w := range o.Raw {
		key, value, ok := strings.Cut(w, "=")
		if !ok || !slices.Contains(kernelWords, key) {
			continue
		}
		// Quotes protect commas in the string of mount(2); fsconfig(2) would take them for part of the value.
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		k = append(k, kernelOption{key, value, false})
	}
	return append(k,
		kernelOption{"fd", strconv.FormatUint(uint64(fd), 10), false},
		kernelOption{"rootmode", strconv.FormatUint(uint64(rootmode), 8), false},
		kernelOption{"user_id", strconv.Itoa(uid), false},
		kernelOption{"group_id", strconv.Itoa(gid), false})
}

// mountData is the data argument of mount(2).
func mountData(opts []kernelOption) string {
	var b strings.Builder
	for i, k := range opts {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k.key)
		switch {
		case k.flag:
		case strings.Contains(k.value, ","):
			b.WriteString(`="` + k.value + `"`)
		default:
			b.WriteString("=" + k.value)
		}
	}
	return b.String()
}

// fsType is the file system type without and with the subtype.
func (o *MountOptions) fsType() (base, full string) {
	base = "fuse"
	if o.BlockDevice {
		base = "fuseblk"
	}
	if o.Subtype == "" {
		return base, base
	}
	return base, base + "." + o.Subtype
}

// source is the mount's source. Kernels without subtypes get it in the old form subtype#fsname.
func (o *MountOptions) source(device string, subtypes bool) string {
	switch {
	case o.FSName != "" && o.Subtype != "" && !subtypes && !o.BlockDevice:
		return o.Subtype + "#" + o.FSName
	case o.FSName != "":
		return o.FSName
	case o.Subtype != "":
		return o.Subtype
	}
	return device
}
