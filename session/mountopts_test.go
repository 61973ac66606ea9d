//go:build linux

package session

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
)

func TestParseOption(t *testing.T) {
	for word, want := range map[string]MountOptions{
		"allow_other":         {AllowOther: true},
		"allow_root":          {AllowRoot: true},
		"auto_unmount":        {AutoUnmount: true},
		"default_permissions": {DefaultPermissions: true},
		"blkdev":              {BlockDevice: true},
		"ro":                  {ReadOnly: true},
		"-r":                  {ReadOnly: true},
		"rw":                  {},
		"fsname=a,b=c":        {FSName: "a,b=c"},
		"fsname=":             {},
		"subtype=x":           {Subtype: "x"},
		"max_read=4096":       {MaxRead: 4096},
		"max_read=0x1000":     {MaxRead: 4096},
		"max_read=010000":     {MaxRead: 4096},
		"blksize=512":         {Raw: []string{"blksize=512"}},
		`context="a:b,c"`:     {Raw: []string{`context="a:b,c"`}},
		"fscontext=a":         {Raw: []string{"fscontext=a"}},
		"defcontext=a":        {Raw: []string{"defcontext=a"}},
		"rootcontext=a":       {Raw: []string{"rootcontext=a"}},
		"user=me":             {Raw: []string{"user=me"}},
		"-n":                  {Raw: []string{"-n"}},
		"x-systemd.automount": {Raw: []string{"x-systemd.automount"}},
		"nosymfollow":         {Raw: []string{"nosymfollow"}},
		"nostrictatime":       {Raw: []string{"nostrictatime"}},
	} {
		var o MountOptions
		known, err := o.ParseOption(word)
		require.NoError(t, err, word)
		require.True(t, known, word)
		require.Equal(t, want, o, word)
	}
	for _, word := range []string{
		"", "nonempty", "relatime", "norelatime", "strictatime", "atime", "diratime", "lazytime", "mand", "remount", "defaults",
		"fd=3", "rootmode=40000", "user_id=0", "group_id=0", "large_read", "fsname", "subtype", "max_read", "context", "blksize",
		"ro=1", "allow_other=", "ALLOW_OTHER", "user", "debug",
	} {
		var o MountOptions
		known, err := o.ParseOption(word)
		require.NoError(t, err, word)
		require.False(t, known, word)
		require.Zero(t, o, word)
	}
	for _, word := range []string{"max_read=", "max_read=x", "max_read=12abc", "max_read=-1", "max_read=+1", "max_read=1_0", "max_read=0b1", "max_read=4294967296"} {
		var o MountOptions
		known, err := o.ParseOption(word)
		require.True(t, known, word)
		require.EqualError(t, err, "fuse: invalid parameter in option `"+word+"'")
		require.Zero(t, o, word)
	}
	var o MountOptions
	_, err := o.ParseOption("fsname=a\x00b")
	require.EqualError(t, err, "fuse: option contains a NUL byte")
}

func TestLaterOptionsWin(t *testing.T) {
	o := MountOptions{Raw: []string{"suid", "ro", "nosuid", "suid", "sync", "async", "noexec", "dirsync", "rw", "ro"}}
	f, err := o.flat()
	require.NoError(t, err)
	require.True(t, f.ReadOnly)
	require.EqualValues(t, sys.MS_RDONLY|sys.MS_NODEV|sys.MS_NOEXEC|sys.MS_DIRSYNC, f.msFlags())
	attrs, config := f.attrs()
	require.Equal(t, sys.MOUNT_ATTR_RDONLY|sys.MOUNT_ATTR_NODEV|sys.MOUNT_ATTR_NOEXEC, attrs)
	require.Equal(t, []string{"ro", "dirsync"}, config)
}

func TestKernelOptions(t *testing.T) {
	o := MountOptions{AllowRoot: true, DefaultPermissions: true, MaxRead: 8192,
		Raw: []string{`context="u:r:t:c1,c2"`, "blksize=1024", "noexec", "user=me", "fscontext=a,b"}}
	k := o.kernelOptions(7, sys.S_IFREG, 10, 20)
	require.Equal(t, `default_permissions,allow_other,max_read=8192,context="u:r:t:c1,c2",blksize=1024,fscontext="a,b",fd=7,rootmode=100000,user_id=10,group_id=20`, mountData(k))
	require.Contains(t, k, kernelOption{key: "context", value: "u:r:t:c1,c2"})
}

func TestSourceAndType(t *testing.T) {
	for _, c := range []struct {
		o                       MountOptions
		base, full, source, old string
	}{
		{MountOptions{}, "fuse", "fuse", "/dev/fuse", "/dev/fuse"},
		{MountOptions{FSName: "f"}, "fuse", "fuse", "f", "f"},
		{MountOptions{Subtype: "s"}, "fuse", "fuse.s", "s", "s"},
		{MountOptions{FSName: "f", Subtype: "s"}, "fuse", "fuse.s", "f", "s#f"},
		{MountOptions{FSName: "f", Subtype: "s", BlockDevice: true}, "fuseblk", "fuseblk.s", "f", "f"},
	} {
		base, full := c.o.fsType()
		require.Equal(t, []string{c.base, c.full}, []string{base, full})
		require.Equal(t, c.source, c.o.source("/dev/fuse", true))
		require.Equal(t, c.old, c.o.source("/dev/fuse", false))
	}
}

func TestHelperOptions(t *testing.T) {
	o := MountOptions{ReadOnly: true, AllowRoot: true, AutoUnmount: true, FSName: `a,b\c`, Subtype: "s", MaxRead: 1,
		Raw: []string{"dev", "-n", "user=me", "x-y", "symfollow", "nostrictatime"}}
	require.Equal(t, `ro,allow_other,auto_unmount,max_read=1,fsname=a\,b\\c,subtype=s,dev`, o.helperOptions())
	require.Empty(t, new(MountOptions).helperOptions())
}

// splitOptions splits a -o list as libfuse and fusermount3 do.
func splitOptions(list string) (words []string) {
	var b strings.Builder
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '\\' && i+1 < len(list):
			i++
			b.WriteByte(list[i])
		case list[i] == ',':
			words = append(words, b.String())
			b.Reset()
		default:
			b.WriteByte(list[i])
		}
	}
	return append(words, b.String())
}

func FuzzParseOption(f *testing.F) {
	for _, s := range []string{"allow_other,ro", `fsname=a\,b,subtype=x`, "max_read=0x10,max_read=8", "nosuid,suid,x-a=b,user=c", `context="a,b"`, `fsname=\\,rw,-r,-n`, ",", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		var o MountOptions
		for _, w := range splitOptions(list) {
			before := o
			before.Raw = append([]string(nil), o.Raw...)
			known, err := o.ParseOption(w)
			if !known || err != nil {
				require.True(t, reflect.DeepEqual(before, o) || len(before.Raw) == 0 && len(o.Raw) == 0, "a refused word has no effect: %q", w)
			}
		}
		// What was understood survives being written down and read again.
		var again MountOptions
		var escaped []string
		for _, w := range o.words() {
			escaped = append(escaped, escapeOption(w))
		}
		if len(escaped) > 0 {
			for _, w := range splitOptions(strings.Join(escaped, ",")) {
				known, err := again.ParseOption(w)
				require.NoError(t, err)
				require.True(t, known, "%q", w)
			}
		}
		require.Equal(t, o, again)
		o.FSName = "x" + o.FSName
		_, err := o.flat()
		require.NoError(t, err)
		require.NotContains(t, mountData(o.kernelOptions(3, sys.S_IFDIR, 0, 0)), "\x00")
	})
}
