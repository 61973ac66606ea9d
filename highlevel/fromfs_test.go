//go:build linux

package highlevel

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/lowlevel"
)

var sample = fstest.MapFS{
	"hello":         {Data: []byte("Hello World!\n"), Mode: 0o644, ModTime: time.Unix(1700000000, 5)},
	"dir/a":         {Data: bytes.Repeat([]byte("abc"), 100_000), Mode: 0o600},
	"dir/sub/empty": {Mode: 0o755},
	"dir/link":      {Data: []byte("../hello"), Mode: fs.ModeSymlink | 0o777},
	"naïve":         {Data: []byte("x")},
}

func TestFromFS(t *testing.T) {
	_, k := start(t, FromFS(sample), nil)
	require.NoError(t, fstest.TestFS(k.FS(), "hello", "dir/a", "dir/sub/empty", "dir/link", "naïve"))
	k.ForgetAll()
}

func TestFromFSZip(t *testing.T) {
	// Files in an archive can be read from the front only.
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name, f := range sample {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(f.Mode)
		e, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = e.Write(f.Data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	r, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	require.NoError(t, err)
	_, k := start(t, FromFS(r), nil)

	dir, err := k.Lookup(lowlevel.RootID, "dir")
	require.NoError(t, err)
	a, err := k.Lookup(dir.NodeID, "a")
	require.NoError(t, err)
	f, err := k.Open(a.NodeID, os.O_RDONLY)
	require.NoError(t, err)
	want := sample["dir/a"].Data
	for _, off := range []int64{0, 100, 200_000, 7, 299_990, 300_000, 400_000, 1} {
		got, err := f.Read(off, 50)
		require.NoError(t, err)
		require.Equal(t, want[min(off, 300_000):min(off+50, 300_000)], got)
	}
	require.NoError(t, f.Close())
	k.ForgetAll()
}

func TestFromFSIsReadOnly(t *testing.T) {
	_, k := start(t, FromFS(sample), nil)
	e, err := k.Lookup(lowlevel.RootID, "hello")
	require.NoError(t, err)
	_, err = k.Open(e.NodeID, os.O_RDWR)
	require.Equal(t, syscall.EROFS, err)
	_, err = k.Mkdir(lowlevel.RootID, "d", 0o755)
	require.Equal(t, syscall.EROFS, err)
	_, _, err = k.Create(lowlevel.RootID, "f", os.O_RDWR, 0o644)
	require.Equal(t, syscall.EROFS, err)
	_, err = k.Mknod(lowlevel.RootID, "f", syscall.S_IFREG|0o644, 0)
	require.Equal(t, syscall.EROFS, err)
	require.Equal(t, syscall.EROFS, k.Unlink(lowlevel.RootID, "hello"))
	require.Equal(t, syscall.EROFS, k.Rename(lowlevel.RootID, "hello", lowlevel.RootID, "x", 0))
	require.Equal(t, syscall.EROFS, k.Access(e.NodeID, accessWrite))
	require.Equal(t, syscall.EACCES, k.Access(e.NodeID, accessExec))
	require.NoError(t, k.Access(e.NodeID, 4))
	_, err = k.Truncate(e.NodeID, 0)
	require.Equal(t, syscall.EROFS, err)
	k.ForgetAll()
}
