//go:build linux

package sys

import "unsafe"

// String views b as a string. b must not change any more.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
