//go:build linux

package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestPrintcap(t *testing.T) {
	e := exampletest.Isolated(t, "printcap")
	if e == nil {
		return
	}
	for name, uid := range map[string]uint32{"root": 0, "user": exampletest.Nobody} {
		e.Each(name, func(e *exampletest.Env) {
			tmp := e.Mountpoint(int(uid))
			cmd := exampletest.As(uid, e.Command())
			cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
			code, out := e.Finish(cmd)
			require.Zero(e, code, out)
			require.Regexp(e, `^FUSE library version 3\.\S+.*\nusing FUSE kernel interface version 7\.\d+\nfusermount3 version: \S+\nProtocol version: 7\.\d+\nCapabilities:\n(\tFUSE_CAP_[A-Z0-9_]+\n)+$`, out)
			for _, c := range []string{"ASYNC_READ", "POSIX_LOCKS", "FLOCK_LOCKS", "READDIRPLUS", "WRITEBACK_CACHE", "SPLICE_READ", "IOCTL_DIR", "EXPIRE_ONLY"} {
				require.Contains(e, out, "\tFUSE_CAP_"+c+"\n")
			}
			left, err := os.ReadDir(tmp)
			require.NoError(e, err)
			require.Empty(e, left)
		})
	}
	e.Each("like C", func(e *exampletest.Env) { // whose list ends with what its library knows
		code, theirs := e.Finish(exec.Command(e.CompileC("printcap")))
		require.Zero(e, code)
		code, ours := e.Finish(e.Command())
		require.Zero(e, code)
		list := func(s string) (caps []string) {
			for line := range strings.Lines(s) {
				if strings.HasPrefix(line, "\t") {
					caps = append(caps, strings.TrimSpace(line))
				}
			}
			return caps
		}
		require.NotEmpty(e, list(theirs))
		for _, name := range list(theirs) {
			require.True(e, slices.Contains(list(ours), name), name)
		}
		version := func(s string) string {
			_, s, _ = strings.Cut(s, "Protocol version: ")
			s, _, _ = strings.Cut(s, "\n")
			return s
		}
		require.Equal(e, version(theirs), version(ours))
	})
	e.Each("bad option", func(e *exampletest.Env) {
		code, out := e.Finish(e.Command("-o", "bogus"))
		require.Equal(e, 1, code)
		require.Equal(e, "fuse: unknown option(s): `-o bogus'\n", out)
	})
	e.Each("no device", func(e *exampletest.Env) {
		tmp := e.Mountpoint(0)
		cmd := e.Command()
		cmd.Env = append(cmd.Env, "TMPDIR="+tmp, "FUSE_KERN_DEVICE=/dev/missing")
		code, out := e.Finish(cmd)
		require.Equal(e, 1, code)
		require.Contains(e, out, "/dev/missing")
		left, err := os.ReadDir(tmp)
		require.NoError(e, err)
		require.Empty(e, left)
	})
}
