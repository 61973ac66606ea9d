//go:build linux

package wire

import (
	"math/bits"
	"strconv"
)

// flagText names the set bits of f; names is indexed by bit number and has "" for bits that mean nothing. A single known
// bit costs no allocation.
func flagText[T ~uint16 | ~uint32 | ~uint64](f T, names []string) string {
	v := uint64(f)
	if v == 0 {
		return "0"
	}
	if v&(v-1) == 0 {
		if n := bitName(bits.TrailingZeros64(v), names); n != "" {
			return n
		}
	}
	var (
		room    [256]byte
		b       = room[:0]
		unknown uint64
	)
	for ; v != 0; v &= v - 1 {
		n := bitName(bits.TrailingZeros64(v), names)
		if n == "" {
			unknown |= v & -v
			continue
		}
		if len(b) > 0 {
			b = append(b, '|')
		}
		b = append(b, n...)
	}
	if unknown != 0 {
		if len(b) > 0 {
			b = append(b, '|')
		}
		b = append(b, "0x"...)
		b = strconv.AppendUint(b, unknown, 16)
	}
	return string(b)
}

func bitName(bit int, names []string) string {
	if bit < len(names) {
		return names[bit]
	}
	return ""
}

// unknownText is the text of an enum value without a name: "OPCODE(77)".
func unknownText(kind string, v int64) string {
	return kind + "(" + strconv.FormatInt(v, 10) + ")"
}
