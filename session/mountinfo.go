//go:build linux

package session

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/purefuse/purefuse/internal/sys"
)

// parseMounts yields the mounts of FUSE file systems in the text of a mountinfo file for which want is true. Each line
// is parsed by itself, so that what other file systems write into theirs cannot hide ours.
func parseMounts(text []byte, want func(*mountinfo.Info) bool) (found []*mountinfo.Info) {
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte(" - fuse")) {
			continue
		}
		in, err := mountinfo.GetMountsFromReader(bytes.NewReader(line), nil)
		if err != nil || len(in) != 1 || !isFUSE(in[0].FSType) || in[0].ID < 0 || in[0].Major < 0 || in[0].Minor < 0 {
			continue
		}
		if want(in[0]) {
			found = append(found, in[0])
		}
	}
	return found
}

func isFUSE(fstype string) bool {
	base, _, _ := strings.Cut(fstype, ".")
	return base == "fuse" || base == "fuseblk"
}

// fuseMounts lists the FUSE mounts of this mount namespace for which want is true. No file system is asked for it.
func fuseMounts(want func(*mountinfo.Info) bool) ([]*mountinfo.Info, error) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("fuse: mount table: %w", err)
	}
	return parseMounts(text, want), nil
}

// findMount is the entry of the mount with the given number and device, nil when there is none.
func findMount(id sys.MountID) (*mountinfo.Info, error) {
	in, err := fuseMounts(func(in *mountinfo.Info) bool {
		return uint64(in.ID) == id.ID && uint32(in.Major) == id.Major && uint32(in.Minor) == id.Minor
	})
	if err != nil || len(in) == 0 {
		return nil, err
	}
	return in[0], nil
}

// findConn is the entry of the first mount of a connection that shows the whole file system, nil when there is none.
func findConn(conn uint32) (*mountinfo.Info, error) {
	in, err := fuseMounts(func(in *mountinfo.Info) bool {
		return in.Root == "/" && mountIDOf(in).Conn() == conn
	})
	if err != nil || len(in) == 0 {
		return nil, err
	}
	return in[0], nil
}

// mountIDOf is what a line of mountinfo tells of the mount's identity.
func mountIDOf(in *mountinfo.Info) sys.MountID {
	return sys.MountID{ID: uint64(in.ID), Major: uint32(in.Major), Minor: uint32(in.Minor)}
}
