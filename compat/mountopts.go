//go:build linux

package compat

import (
	"strings"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/session"
)

// MountWords are the mount options of a -o list by whom they are for. The words are not escaped and in their order.
// session.MountOptions has the same as fields; this is for programs that hand options on to another program.
type MountWords struct {
	Kernel  []string // the FUSE file system and the security modules: allow_other, max_read=, context= and so on
	Flags   []string // any file system: ro, nosuid, noatime and so on
	Helper  []string // how to mount, for fusermount3: fsname=, subtype=, blkdev, auto_unmount
	Library []string // the library alone: allow_root, debug, io_uring, and what ParseCmdline knows
	Table   []string // mount tables alone: user=, -n, x-*
	Unknown []string // nobody
}

// SplitMountOptions sorts a list, the argument of -o.
func SplitMountOptions(list string) *MountWords {
	w := new(MountWords)
	for _, word := range opt.Split(list) {
		key, _, hasValue := strings.Cut(word, "=")
		to := &w.Unknown
		var known session.MountOptions
		if ok, err := known.ParseOption(word); ok || err != nil {
			to = &w.Flags
		}
		switch {
		case word == "allow_root", word == "debug", word == "io_uring", word == "clone_fd",
			hasValue && (key == "io_uring_q_depth" || key == "max_threads" || key == "max_idle_threads"):
			to = &w.Library
		case to == &w.Unknown:
		case word == "allow_other", word == "default_permissions",
			key == "max_read", key == "blksize", key == "context", key == "fscontext", key == "defcontext", key == "rootcontext":
			to = &w.Kernel
		case word == "blkdev", word == "auto_unmount", key == "fsname", key == "subtype":
			to = &w.Helper
		case key == "user", word == "-n", strings.HasPrefix(word, "x-"):
			to = &w.Table
		}
		*to = append(*to, word)
	}
	return w
}

// FusermountOptions is the list for fusermount3's -o: what it understands, escaped, allow_root being allow_other for it.
func (w *MountWords) FusermountOptions() string {
	var list string
	for _, words := range [][]string{w.Flags, w.Kernel, w.Helper} {
		for _, word := range words {
			if word == "-r" {
				word = "ro"
			}
			opt.AddOptEscaped(&list, word)
		}
	}
	for _, word := range w.Library {
		if word == "allow_root" {
			opt.AddOpt(&list, "allow_other")
		}
	}
	return list
}

// KernelOptions is the string for the data argument of mount(2), without the parameters that only the mounting process
// knows: fd, rootmode, user_id and group_id. As in libfuse nothing is escaped in it; values with commas need their own
// double quotes.
func (w *MountWords) KernelOptions() string {
	words := w.Kernel
	for _, word := range w.Library {
		if word == "allow_root" {
			words = append(words[:len(words):len(words)], "allow_other")
		}
	}
	return strings.Join(words, ",")
}
