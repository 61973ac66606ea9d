//go:build linux

package wire

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIomapVectors writes whole messages and compares the bytes.
func TestIomapVectors(t *testing.T) {
	for name, tc := range map[string]struct {
		v    any
		want string
	}{
		"begin_out": {&IomapBeginOut{
			Read:  IomapIO{Offset: 0x10000, Length: 0x4000, Addr: 0x200000, Type: uint16(IomapTypeMapped), Dev: 1},
			Write: IomapIO{Offset: 0x10000, Length: 0x4000, Addr: IomapNullAddr, Type: uint16(IomapTypePureOverwrite)},
		}, `
			00 00 01 00 00 00 00 00 00 40 00 00 00 00 00 00
			00 00 20 00 00 00 00 00 02 00 00 00 01 00 00 00
			00 00 01 00 00 00 00 00 00 40 00 00 00 00 00 00
			ff ff ff ff ff ff ff ff ff ff 00 00 00 00 00 00`},
		"upsert": {&IomapUpsertMappingsOut{
			NodeID: 7, AttrIno: 7,
			Read:  IomapIO{Length: 0x1000, Addr: 0x5000, Type: uint16(IomapTypeMapped), Dev: 1},
			Write: IomapIO{Length: 0x1000, Addr: IomapNullAddr, Type: uint16(IomapTypeNocache)},
		}, `
			07 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00
			00 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00
			00 50 00 00 00 00 00 00 02 00 00 00 01 00 00 00
			00 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00
			ff ff ff ff ff ff ff ff fd ff 00 00 00 00 00 00`},
		"ioend_in": {&IomapIoendIn{
			Flags: uint32(IomapIoendUnwritten | IomapIoendWriteback), AttrIno: 7, Pos: 0x1000, NewAddr: 0x28, Written: 0x2000, Dev: 1,
		}, `
			22 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00
			00 10 00 00 00 00 00 00 28 00 00 00 00 00 00 00
			00 20 00 00 00 00 00 00 01 00 00 00 00 00 00 00`},
	} {
		have, err := binary.Append(nil, binary.LittleEndian, tc.v)
		require.NoError(t, err, name)
		want, err := hex.DecodeString(strings.Join(strings.Fields(tc.want), ""))
		require.NoError(t, err, name)
		require.Equal(t, want, have, name)
	}
}

// TestIomapOffsets checks the places that the extension's description spells out.
func TestIomapOffsets(t *testing.T) {
	b, err := binary.Append(nil, binary.LittleEndian, &IomapStatx{
		MntID: 1, DioMemAlign: 2, Subvol: 3, AtomicWriteUnitMin: 4, DioReadOffsetAlign: 5, AtomicWriteUnitMaxOpt: 6,
	})
	require.NoError(t, err)
	require.Len(t, b, 256)
	for off, v := range map[int]byte{144: 1, 152: 2, 160: 3, 168: 4, 180: 5, 184: 6} {
		require.Equal(t, v, b[off], off)
	}
	b, err = binary.Append(nil, binary.LittleEndian, &IomapConfigOut{
		SUUIDLen: 1, SBlockSize: 2, SMaxLinks: 3, STimeGran: 4, STimeMin: 5, STimeMax: 6, SMaxBytes: 7, CacheMaxBytes: 8,
	})
	require.NoError(t, err)
	for off, v := range map[int]byte{56: 1, 60: 2, 64: 3, 68: 4, 72: 5, 80: 6, 88: 7, 96: 8} {
		require.Equal(t, v, b[off], off)
	}
}
