//go:build linux

// Package fioc has what the server ioctl and its client agree on, libfuse's ioctl.h.
package fioc

import "strconv"

// The file in the mount and its requests, which carry one C size_t.
const (
	Name    = "fioc"
	GetSize = read<<30 | sizeT<<16 | 'E'<<8
	SetSize = write<<30 | sizeT<<16 | 'E'<<8 | 1
)

// How request numbers are made up: direction, size, letter, number.
const (
	write = 1 // from the caller
	read  = 2 // to the caller
	sizeT = strconv.IntSize / 8
)
