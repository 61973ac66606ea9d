//go:build linux

package opt

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// conversion is one conversion specification of sscanf(3).
type conversion struct {
	verb  byte
	bits  int // of what it makes
	width int // bytes of the value that are looked at, the sign included; 0: all
}

// parseFormat reads a format of a single conversion. Literal text behind it is allowed and, as in C, without effect.
func parseFormat(f string) (c conversion, ok bool) {
	f = strings.TrimPrefix(f, "%")
	n := 0
	for n < len(f) && f[n] >= '0' && f[n] <= '9' {
		n++
	}
	if n > 0 {
		w, err := strconv.Atoi(f[:n])
		if err != nil || w == 0 {
			return c, false
		}
		c.width, f = w, f[n:]
	}
	n = strings.IndexFunc(f, func(r rune) bool { return !strings.ContainsRune("hljztqL", r) })
	if n < 0 {
		return c, false
	}
	modifier, verb := f[:n], f[n]
	if strings.Contains(f[n:], "%") {
		return c, false
	}
	c.verb = verb
	if strings.IndexByte("fFeEgGaA", verb) >= 0 {
		c.verb = 'f'
		switch modifier {
		case "":
			c.bits = 32
		case "l":
			c.bits = 64
		}
		return c, c.bits != 0
	}
	if verb == 'X' {
		c.verb = 'x'
	}
	if strings.IndexByte("diuox", c.verb) < 0 {
		return c, false
	}
	switch modifier {
	case "hh":
		c.bits = 8
	case "h":
		c.bits = 16
	case "":
		c.bits = 32
	case "l", "ll", "q", "L", "j", "z", "t":
		c.bits = 64
	}
	return c, c.bits != 0
}

// scanner is the function that converts a value and stores it in dst.
func scanner(templ, format string, dst any) func(string) bool {
	c, ok := parseFormat(format)
	if !ok {
		panic(fmt.Sprintf("opt: template %q of Scan has a conversion that is not known", templ))
	}
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("opt: template %q of Scan needs a pointer, not %T", templ, dst))
	}
	v = v.Elem()
	isFloat := v.Kind() == reflect.Float32 || v.Kind() == reflect.Float64
	if !isFloat && !v.CanInt() && !v.CanUint() || isFloat != (c.verb == 'f') || v.Type().Bits() < c.bits {
		panic(fmt.Sprintf("opt: template %q of Scan does not fit a %T", templ, dst))
	}
	if isFloat {
		return func(s string) bool {
			f, ok := scanFloat(s, c.width, c.bits)
			if ok {
				v.SetFloat(f)
			}
			return ok
		}
	}
	return func(s string) bool {
		n, ok := scanInt(s, c)
		switch {
		case !ok:
		case v.CanInt():
			v.SetInt(n)
		default:
			v.SetUint(uint64(n) & (1<<(v.Type().Bits()-1)<<1 - 1))
		}
		return ok
	}
}

const blanks = " \t\n\v\f\r"

// window is what a conversion of some width looks at: s without blanks in front.
func window(s string, width int) string {
	s = strings.TrimLeft(s, blanks)
	if width > 0 && len(s) > width {
		s = s[:width]
	}
	return s
}

// scanInt converts as scanf does on 64-bit machines: strtol or strtoul, whose result saturates at 64 bits, cut to the
// bits of the conversion.
func scanInt(s string, c conversion) (int64, bool) {
	s = window(s, c.width)
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	base := map[byte]int{'d': 10, 'u': 10, 'o': 8, 'x': 16}[c.verb] // 0: %i, the prefix says
	if base == 0 || base == 16 {
		switch {
		case len(s) >= 2 && s[0] == '0' && s[1]|0x20 == 'x':
			// What has the prefix alone is the number 0.
			if len(s) >= 3 && digit(s[2]) < 16 {
				s = s[2:]
			}
			base = 16
		case base == 16:
		case strings.HasPrefix(s, "0"):
			base = 8
		default:
			base = 10
		}
	}
	n := 0
	for n < len(s) && digit(s[n]) < base {
		n++
	}
	if n == 0 {
		return 0, false
	}
	u, err := strconv.ParseUint(s[:n], base, 64)
	if c.verb == 'd' || c.verb == 'i' {
		switch {
		case negative && (err != nil || u > 1<<63):
			u = 1 << 63
		case negative:
			u = -u
		case err != nil || u > math.MaxInt64:
			u = math.MaxInt64
		}
	} else if negative && err == nil {
		u = -u // one that does not fit stays the largest
	}
	return cut(u, c), true
}

// cut keeps the bits that the conversion makes, with a sign if it makes signed numbers.
func cut(u uint64, c conversion) int64 {
	shift := 64 - c.bits
	if c.verb == 'd' || c.verb == 'i' {
		return int64(u<<shift) >> shift
	}
	return int64(u << shift >> shift)
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 16
}

// scanFloat converts the longest number in front, in the C locale. What is too large is infinite.
func scanFloat(s string, width, bits int) (float64, bool) {
	s = window(s, width)
	n := floatLen(s)
	if n == 0 {
		return 0, false
	}
	text := s[:n]
	switch {
	case text[n-1]|0x20 == 'n' && n <= len("+nan"):
		return math.NaN(), true // strconv knows none with a sign
	case strings.ContainsAny(text, "xX") && !strings.ContainsAny(text, "pP"):
		text += "p0" // strconv wants an exponent
	}
	f, err := strconv.ParseFloat(text, bits)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// floatLen is the length of the floating point number that s begins with, 0 if there is none.
func floatLen(s string) int {
	i := 0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		i++
	}
	word := strings.ToLower(s[i:min(len(s), i+len("infinity"))])
	switch {
	case word == "infinity":
		return i + len(word)
	case strings.HasPrefix(word, "infi"):
		return 0 // scanf cannot give back what it has read
	case strings.HasPrefix(word, "inf"), strings.HasPrefix(word, "nan"):
		return i + 3
	}
	base, exponent := 10, byte('e')
	if strings.HasPrefix(word, "0x") {
		i += 2
		base, exponent = 16, 'p'
	}
	digits := func() int {
		from := i
		for i < len(s) && digit(s[i]) < base {
			i++
		}
		return i - from
	}
	mantissa := digits()
	if i < len(s) && s[i] == '.' {
		i++
		mantissa += digits()
	}
	if mantissa == 0 {
		return 0
	}
	if end := i; i < len(s) && s[i]|0x20 == exponent {
		i++
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		base = 10
		if digits() == 0 {
			return end
		}
	}
	return i
}
