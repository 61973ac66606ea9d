//go:build linux

// Package wire is the FUSE kernel ABI as data: opcodes, flags, structs, notification codes and ioctl numbers through
// protocol 7.46, and the numbers of the iomap extension. It does no I/O and keeps no state.
package wire
