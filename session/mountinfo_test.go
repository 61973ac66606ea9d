//go:build linux

package session

import (
	"bytes"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
)

func everyMount(*mountinfo.Info) bool { return true }

func TestParseMounts(t *testing.T) {
	text := strings.Join([]string{
		"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw",
		`60 22 0:41 / /a\040b\134\011c rw,nosuid,nodev - fuse.s\040t my\040src rw,user_id=0,group_id=0`,
		"61 22 0:42 /sub /bind rw master:1 propagate_from:2 - fuse x rw",
		"62 22 7:1 / /blk rw - fuseblk.ntfs /dev/loop1 rw",
		"63 22 0:43 / /ctl rw - fusectl fusectl rw",
		"65 22 0:45 / /long rw - fuse " + strings.Repeat("l", 100_000) + " rw", // beyond a scanner's line
		"junk - fuse",
		"66 22 nodev / /x rw - fuse x rw",
		"67 22 0:46 / /last rw - fuse x rw",
	}, "\n")
	var points []string
	for _, in := range parseMounts([]byte(text), everyMount) {
		points = append(points, in.Mountpoint)
	}
	require.Equal(t, []string{"/a b\\\tc", "/bind", "/blk", "/last"}, points)
	in := parseMounts([]byte(text), func(in *mountinfo.Info) bool { return in.ID == 62 })
	require.Len(t, in, 1)
	require.EqualValues(t, 7<<20|1, mountIDOf(in[0]).Conn())
	require.Equal(t, "fuse.s t", parseMounts([]byte(text), everyMount)[0].FSType)
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("60 22 0:41 / /mnt rw,nosuid - fuse.x src rw"))
	f.Add([]byte(`60 22 0:41 / /a\040\1\04 rw shared:1 - fuseblk - -`))
	f.Add([]byte("1 - fuse - - - - - - - -"))
	f.Add([]byte("- - - - - - - - fuse \\\\\\"))
	f.Fuzz(func(t *testing.T, foreign []byte) {
		for _, in := range parseMounts(foreign, everyMount) {
			require.True(t, isFUSE(in.FSType))
			require.GreaterOrEqual(t, in.ID, 0)
		}
		// Whatever others write, ours is found.
		text := append(bytes.Clone(foreign), "\n424242 22 0:4242 / /ours rw - fuse x rw\n"...)
		text = append(text, foreign...)
		ours := parseMounts(text, func(in *mountinfo.Info) bool { return in.ID == 424242 && in.Minor == 4242 && in.Mountpoint == "/ours" })
		require.NotEmpty(t, ours)
	})
}
