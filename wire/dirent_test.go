//go:build linux

package wire

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// collect drains an iterator of records; the error, if any, must come last.
func collect[T any](t testing.TB, seq iter.Seq2[T, error]) (all []T, err error) {
	t.Helper()
	for r, e := range seq {
		require.NoError(t, err, "a pair after the error")
		if err = e; err == nil {
			all = append(all, r)
		}
	}
	return all, err
}

var testEntry = EntryOut{
	NodeID: 2, Generation: 3, EntryValid: 4, AttrValid: 5, EntryValidNsec: 6, AttrValidNsec: 7,
	Attr: Attr{
		Ino: 8, Size: 9, Blocks: 10, Atime: 11, Mtime: 12, Ctime: 13, AtimeNsec: 14, MtimeNsec: 15, CtimeNsec: 16,
		Mode: 17, Nlink: 18, UID: 19, GID: 20, Rdev: 21, Blksize: 22, Flags: 23,
	},
}

func TestRecordSizes(t *testing.T) {
	for namelen, size := range map[int]int{0: 24, 1: 32, 8: 32, 9: 40, 255: 280, 4095: 4120} {
		require.Equal(t, size, DirentSize(namelen))
		require.Equal(t, size+128, DirentplusSize(namelen))
	}
}

// TestDirentBytes holds a record against the struct as the standard library lays it out.
func TestDirentBytes(t *testing.T) {
	d := Dirent{Ino: 0x1122334455667788, Off: 1 << 63, Type: 8, NameLen: 99}
	want := d
	want.NameLen = 3
	var buf bytes.Buffer
	require.NoError(t, binary.Write(&buf, binary.NativeEndian, &want))
	buf.WriteString("abc\x00\x00\x00\x00\x00")
	require.Equal(t, buf.Bytes(), AppendDirent(nil, &d, "abc"))

	plus := Direntplus{EntryOut: testEntry, Dirent: want}
	buf.Reset()
	require.NoError(t, binary.Write(&buf, binary.NativeEndian, &plus))
	buf.WriteString("abc\x00\x00\x00\x00\x00")
	require.Equal(t, buf.Bytes(), AppendDirentplus(nil, &testEntry, &d, []byte("abc")))
}

func TestDirents(t *testing.T) {
	names := []string{".", "..", "12345678", "123456789", strings.Repeat("n", NameMax), "not\xffutf8"}
	var b, plus []byte
	for i, n := range names {
		d := Dirent{Ino: uint64(i + 1), Off: uint64(i + 10), Type: 4}
		b = AppendDirent(b, &d, n)
		plus = AppendDirentplus(plus, &testEntry, &d, n)
	}
	rs, err := collect(t, Dirents(b))
	require.NoError(t, err)
	ps, err := collect(t, Direntpluses(plus))
	require.NoError(t, err)
	require.Len(t, rs, len(names))
	for i, n := range names {
		want := DirentRecord{Dirent{Ino: uint64(i + 1), Off: uint64(i + 10), NameLen: uint32(len(n)), Type: 4}, []byte(n)}
		require.Equal(t, want, rs[i])
		require.Equal(t, DirentplusRecord{testEntry, want}, ps[i])
	}
	none, err := collect(t, Dirents(nil))
	require.NoError(t, err)
	require.Empty(t, none)

	for r := range Dirents(b) {
		require.Equal(t, ".", string(r.Name))
		break
	}
	for r := range Direntpluses(plus) {
		require.Equal(t, ".", string(r.Name))
		break
	}
}

func TestMalformedDirents(t *testing.T) {
	good := AppendDirent(nil, &Dirent{Ino: 1}, "good")
	withLen := func(n uint32) []byte {
		b := AppendDirent(nil, &Dirent{Ino: 1}, strings.Repeat("x", 4200))
		binary.NativeEndian.PutUint32(b[16:], n)
		return b
	}
	for name, tc := range map[string]struct {
		bad  []byte
		text string
	}{
		"no name":      {withLen(0), "name of 0 bytes"},
		"long name":    {withLen(NameMax + 1), "name of 4096 bytes"},
		"huge name":    {withLen(1<<32 - 1), "name of 4294967295 bytes"},
		"slash":        {AppendDirent(nil, &Dirent{}, "a/b"), `name "a/b" has a slash`},
		"short header": {good[:23], ErrShortRecord.Error()},
		"short name":   {good[:27], ErrShortRecord.Error()},
		"no padding":   {good[:28], ErrShortRecord.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			rs, err := collect(t, Dirents(append(bytes.Clone(good), tc.bad...)))
			require.Len(t, rs, 1)
			require.EqualError(t, err, "directory record at byte 32: "+tc.text)
			if tc.text == ErrShortRecord.Error() {
				require.ErrorIs(t, err, ErrShortRecord)
			}
			entry := make([]byte, 128)
			ps, err := collect(t, Direntpluses(append(append(bytes.Clone(entry), good...), append(entry, tc.bad...)...)))
			require.Len(t, ps, 1)
			require.EqualError(t, err, "directory record at byte 160: "+tc.text)
		})
	}
	_, err := collect(t, Direntpluses(make([]byte, 151)))
	require.ErrorIs(t, err, ErrShortRecord)
}

// TestAppendKeepsRoom checks that records go into the room that a caller's buffer has.
func TestAppendKeepsRoom(t *testing.T) {
	buf := make([]byte, 0, 4096)
	d := Dirent{Ino: 1}
	require.Zero(t, testing.AllocsPerRun(10, func() {
		b := AppendDirent(buf, &d, "name")
		b = AppendDirentplus(b, &testEntry, &d, "name")
		if &b[0] != &buf[:1][0] {
			panic("moved")
		}
	}))
}

func FuzzDirents(f *testing.F) {
	d := Dirent{Ino: 1, Off: 2, Type: 8}
	f.Add([]byte{})
	f.Add(AppendDirent(nil, &d, "a"))
	f.Add(AppendDirent(AppendDirent(nil, &d, "12345678"), &d, "x/y"))
	f.Add(AppendDirent(nil, &d, strings.Repeat("n", 300))[:100])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		rs, err := collect(t, Dirents(b))
		for _, r := range rs {
			require.Len(t, r.Name, int(r.NameLen))
			again = AppendDirent(again, &r.Dirent, r.Name)
		}
		back, e := collect(t, Dirents(again))
		require.NoError(t, e)
		require.Equal(t, rs, back)
		if err == nil {
			require.Len(t, again, len(b))
		}
	})
}

func FuzzDirentpluses(f *testing.F) {
	d := Dirent{Ino: 1, Off: 2, Type: 8}
	f.Add([]byte{})
	f.Add(AppendDirentplus(nil, &testEntry, &d, "a"))
	f.Add(AppendDirentplus(AppendDirentplus(nil, &EntryOut{}, &d, ".."), &testEntry, &d, "123456789"))
	f.Add(AppendDirentplus(nil, &testEntry, &d, strings.Repeat("n", 300))[:200])
	f.Add(bytes.Repeat([]byte{0xff}, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		rs, err := collect(t, Direntpluses(b))
		for _, r := range rs {
			again = AppendDirentplus(again, &r.Entry, &r.Dirent, r.Name)
		}
		back, e := collect(t, Direntpluses(again))
		require.NoError(t, e)
		require.Equal(t, rs, back)
		if err == nil {
			require.Len(t, again, len(b))
		}
	})
}
