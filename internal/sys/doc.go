//go:build linux

// Package sys holds the raw system calls and the unsafe casts of the library, so that no other package needs them.
package sys
