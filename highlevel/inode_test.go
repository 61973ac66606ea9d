//go:build linux

package highlevel

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/lowlevel"
)

// A name without an inode number would be passed over by those who read the directory.
func TestReaddirWithoutInodes(t *testing.T) {
	for _, useIno := range []bool{false, true} {
		ops := &Operations{
			Init: func(_ *Conn, cfg *Config) (any, error) {
				cfg.UseIno = useIno
				return nil, nil
			},
			Getattr: func(_ *Context, path string, st *Stat, _ *FileInfo) error {
				st.Mode = syscall.S_IFDIR | 0o755
				return nil
			},
			Readdir: func(_ *Context, _ string, fill Filler, _ uint64, _ *FileInfo, _ bool) error {
				fill.Add("plain", &Stat{Mode: syscall.S_IFREG}, 0)
				fill.AddPlus("plus", &Stat{Mode: syscall.S_IFREG}, 0)
				return nil
			},
		}
		_, k := start(t, ops, nil)
		for range 2 {
			d, err := k.Opendir(lowlevel.RootID)
			require.NoError(t, err)
			plus, err := d.Readdirplus(0, 4096)
			require.NoError(t, err)
			require.Len(t, plus, 2)
			plain, err := d.Readdir(1, 4096)
			require.NoError(t, err)
			require.Len(t, plain, 1)
			for _, e := range append(plus, plain...) {
				require.NotZero(t, e.Ino, e.Name)
			}
			require.NoError(t, d.Close())
		}
		k.ForgetAll()
	}
}
