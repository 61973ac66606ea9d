//go:build linux

package sys

import "unsafe"

// As views the start of b as a T; nil if b is too short. b must be aligned for T, and T must hold no pointers.
func As[T any](b []byte) *T {
	if uintptr(len(b)) < unsafe.Sizeof(*new(T)) {
		return nil
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

// Slice views as many T as fit into b, under the conditions of As.
func Slice[T any](b []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))/unsafe.Sizeof(*new(T)))
}

// Bytes views a T as bytes; T must hold no pointers.
func Bytes[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// SizeOf is the size of a T in bytes.
func SizeOf[T any]() int { return int(unsafe.Sizeof(*new(T))) }

// Words views 64-bit words as bytes, for buffers that must be aligned for the ABI's structs.
func Words(w []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*8)
}
