//go:build linux

package highlevel

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const blanks = " \t\n\v\f\r"

// scanUint reads a number as scanf's %d, %u and %o do: blanks before it and anything after it are ignored, a minus sign
// negates in 32 bits, and what does not fit wraps around.
func scanUint(s string, base int) (uint32, bool) {
	s = strings.TrimLeft(s, blanks)
	neg := strings.HasPrefix(s, "-")
	if neg || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] < byte('0'+base) {
		end++
	}
	if end == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:end], base, 64)
	if err != nil { // the C library stops at its largest number
		n = math.MaxUint64
		neg = false
	}
	if neg {
		n = -n
	}
	return uint32(n), true
}

// scanTimeout reads seconds as scanf's %lf does. 0 and less are NoTimeout.
func scanTimeout(s string) (time.Duration, bool) {
	s = strings.TrimLeft(s, blanks)
	f, ok := 0.0, false
	for end := min(len(s), 400); end > 0; end-- { // the longest start that is a number
		c := s[:end]
		if strings.ContainsRune(c, '_') {
			continue
		}
		if strings.ContainsAny(c, "xX") && !strings.ContainsAny(c, "pP") {
			c += "p0" // which C does not ask for
		}
		v, err := strconv.ParseFloat(c, 64)
		if err == nil || math.IsInf(v, 0) {
			f, ok = v, true
			break
		}
	}
	switch ns := f * 1e9; {
	case !ok:
		return 0, false
	case !(ns >= 1): // NaN, too
		return NoTimeout, true
	case ns >= math.MaxInt64:
		return math.MaxInt64, true
	default:
		return time.Duration(ns), true
	}
}
