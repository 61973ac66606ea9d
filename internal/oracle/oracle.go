//go:build linux

// Package oracle holds the low-level API against C libfuse: both serve the same scripted file system, are sent the same
// requests, and must answer with the same bytes. Generated sequences of requests go to a C program built from
// testdata/oracle and to its twin on package lowlevel; where the two are meant to differ, a rule of docs/differences.md
// says how, and is asserted.
package oracle

import "github.com/purefuse/purefuse/internal/oracle/rig"

// Flags of a [config]; oracle.h has the same.
const (
	fAllowRoot = 1 << iota // -o allow_root
	fFractions             // timeouts that no double can hold exactly
	fForceWant             // want capabilities the kernel did not offer
	fOddErrno              // errors outside of errno.h
	fHold                  // keep some requests for later
	fOversize              // answer more data than was asked for
	fDebug                 // let the oracle send libfuse's log
)

// config is how both servers set up one session: struct config of oracle.h. Zero in a limit leaves the library's default.
type config struct {
	Seed uint64
	Ops  uint64 // bit n: operation n in the order of libfuse's table
	Want, Unwant,
	MaxWrite, MaxReadahead, MaxBackground, Congestion, TimeGran,
	MaxReadOption, MaxReadConn,
	Flags uint32
}

// Operations by their place in libfuse 3.14's table.
const (
	opInit = iota
	opDestroy
	opLookup
	opForget
	opGetattr
	opSetattr
	opReadlink
	opMknod
	opMkdir
	opUnlink
	opRmdir
	opSymlink
	opRename
	opLink
	opOpen
	opRead
	opWrite
	opFlush
	opRelease
	opFsync
	opOpendir
	opReaddir
	opReleasedir
	opFsyncdir
	opStatfs
	opSetxattr
	opGetxattr
	opListxattr
	opRemovexattr
	opAccess
	opCreate
	opGetlk
	opSetlk
	opBmap
	opIoctl
	opPoll
	opWriteBuf
	opRetrieveReply
	opForgetMulti
	opFlock
	opFallocate
	opReaddirplus
	opCopyFileRange
	opLseek
	opCount
)

func (c *config) has(op int) bool { return c.Ops>>op&1 != 0 }

// What both oracles share.
type (
	request = rig.Request
	step    = rig.Step
	result  = rig.Result
)

// sequence is one session from its first message to its end.
type sequence struct {
	Config   config
	Requests []request
}
