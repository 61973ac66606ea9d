//go:build linux

// Package wire is the FUSE kernel ABI as data: opcodes, flags, structs, notification codes and ioctl numbers through
// protocol 7.46, and the numbers of the iomap extension. It does no I/O and keeps no state.
//
// Everything is in host byte order, as the kernel speaks it. Enums and flag sets have String methods that give the kernel's
// name without the prefix its group shares (FUSE_LOOKUP is "LOOKUP", FOPEN_KEEP_CACHE is "KEEP_CACHE"); flags are joined by
// "|", unknown bits follow as one hexadecimal number, no bits at all are "0".
package wire
