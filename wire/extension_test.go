//go:build linux

package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// words32 makes bytes of 32-bit words.
func words32(ws ...uint32) (b []byte) {
	for _, w := range ws {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

var (
	selinux = SecurityContext{Name: []byte("security.selinux"), Value: []byte("system_u:object_r:tmp_t:s0\x00")}
	smack   = SecurityContext{Name: []byte("security.SMACK64"), Value: []byte("_")}
)

func TestExtensions(t *testing.T) {
	area := AppendSecurityContexts(nil, selinux, smack)
	area = AppendGroups(area, 100)
	area = AppendSecurityContexts(area)
	area = append(area, words32(13, 77, 0xaaaa, 0xbb)...) // of an unknown type, its last bytes padding
	area = AppendGroups(area, 1, 2)
	require.Zero(t, len(area)%8)

	// In a request the area follows a name of any length.
	for shift := range 8 {
		room := append(make([]byte, shift, shift+len(area)), area...)
		es, err := collect(t, Extensions(room[shift:]))
		require.NoError(t, err)
		require.Len(t, es, 5)
		require.Equal(t, []SecurityContext{selinux, smack}, slices.Collect(es[0].SecurityContexts()))
		require.Empty(t, slices.Collect(es[0].Groups()))
		require.Equal(t, []uint32{100}, slices.Collect(es[1].Groups()))
		require.Empty(t, slices.Collect(es[1].SecurityContexts()))
		require.Zero(t, es[2].Type)
		require.Empty(t, es[2].Body)
		require.Empty(t, slices.Collect(es[2].SecurityContexts()))
		require.Equal(t, Extension{77, words32(0xaaaa, 0xbb)}, es[3])
		require.Empty(t, slices.Collect(es[3].SecurityContexts()))
		require.Equal(t, []uint32{1, 2}, slices.Collect(es[4].Groups()))
	}
	for e := range Extensions(area) {
		require.EqualValues(t, 2, e.Type)
		for c := range e.SecurityContexts() {
			require.Equal(t, selinux, c)
			break
		}
		break
	}
	for e := range Extensions(AppendGroups(nil, 5, 6)) {
		for g := range e.Groups() {
			require.EqualValues(t, 5, g)
			break
		}
	}
	require.Empty(t, slices.Collect(Extension{Type: ExtGroups}.Groups()))
	require.Empty(t, slices.Collect(Extension{Type: 2, Body: []byte{1}}.SecurityContexts()))
}

// TestExtensionBytes checks both kinds of record byte for byte.
func TestExtensionBytes(t *testing.T) {
	require.Equal(t, words32(8, 0), AppendSecurityContexts(nil))
	require.Equal(t, append(words32(16, ExtGroups), words32(1, 1000)...), AppendGroups(nil, 1000))
	require.Equal(t, append(words32(24, ExtGroups), words32(2, 1, 2, 0)...), AppendGroups(nil, 1, 2))
	want := append(words32(32, 1), words32(5, 0)...)
	want = append(want, "name\x00value\x00\x00\x00\x00\x00\x00"...)
	require.Equal(t, want, AppendSecurityContexts(nil, SecurityContext{Name: []byte("name"), Value: []byte("value")}))
}

func TestMalformedExtensions(t *testing.T) {
	context := func(size uint32, rest string) []byte {
		b := append(words32(size, 0), rest...)
		return append(words32(uint32(8+len(b)), 1), b...)
	}
	for name, tc := range map[string]struct {
		bad  []byte
		text string
	}{
		"short header":     {words32(8), ErrShortRecord.Error()},
		"size 0":           {words32(0, 0), "size 0"},
		"size 7":           {words32(7, 0), "size 7"},
		"size beyond end":  {words32(16, 77), ErrShortRecord.Error()},
		"no padding":       {words32(12, 77, 0), ErrShortRecord.Error()},
		"huge size":        {words32(1<<32-1, 77), ErrShortRecord.Error()},
		"missing context":  {words32(8, 1), "security context 0: " + ErrShortRecord.Error()},
		"endless name":     {context(0, "12345678"), "security context 0: name has no end"},
		"empty name":       {context(0, "\x002345678"), "security context 0: empty name"},
		"long value":       {context(5, "abc\x001234"), "security context 0: " + ErrShortRecord.Error()},
		"huge value":       {context(1<<32-1, "abc\x001234"), "security context 0: " + ErrShortRecord.Error()},
		"groups: no count": {words32(8, ExtGroups), ErrShortRecord.Error()},
		"groups: too many": {words32(16, ExtGroups, 2, 1), "2 groups in 8 bytes"},
		"groups: huge":     {words32(16, ExtGroups, 1<<32-1, 1), "4294967295 groups in 8 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			es, err := collect(t, Extensions(append(AppendGroups(nil, 7), tc.bad...)))
			require.Len(t, es, 1)
			require.EqualError(t, err, "extension at byte 16: "+tc.text)
		})
	}
	// The second context is checked too.
	b := AppendSecurityContexts(nil, smack, smack)
	binary.NativeEndian.PutUint32(b[4:], 3)
	_, err := collect(t, Extensions(b))
	require.EqualError(t, err, "extension at byte 0: security context 2: "+ErrShortRecord.Error())
}

func FuzzExtensions(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendSecurityContexts(nil))
	f.Add(AppendGroups(AppendSecurityContexts(nil, selinux), 100))
	f.Add(AppendSecurityContexts(nil, selinux, smack)[:40])
	f.Add(words32(16, 77, 1, 2))
	f.Add(bytes.Repeat([]byte{0xff}, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, _ := collect(t, Extensions(b))
		total := 0
		for _, e := range es {
			total += extHeaderSize + len(e.Body)
			cs, gids := slices.Collect(e.SecurityContexts()), slices.Collect(e.Groups())
			var again []byte
			switch {
			case e.Type <= MaxNrSecctx:
				require.Len(t, cs, int(e.Type))
				again = AppendSecurityContexts(nil, cs...)
			case e.Type == ExtGroups:
				require.Len(t, gids, int(binary.NativeEndian.Uint32(e.Body)))
				again = AppendGroups(nil, gids...)
			default:
				require.Empty(t, cs)
				require.Empty(t, gids)
				continue
			}
			back, err := collect(t, Extensions(again))
			require.NoError(t, err)
			require.Len(t, back, 1)
			require.Equal(t, cs, slices.Collect(back[0].SecurityContexts()))
			require.Equal(t, gids, slices.Collect(back[0].Groups()))
		}
		require.LessOrEqual(t, total, len(b))
	})
}
