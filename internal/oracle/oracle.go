//go:build linux

// Package oracle holds the low-level API against C libfuse: both serve the same scripted file system, are sent the same
// requests, and must answer with the same bytes. Generated sequences of requests go to a C program built from
// testdata/oracle and to its twin on package lowlevel; where the two are meant to differ, a rule of docs/differences.md
// says how, and is asserted.
package oracle

import (
	"encoding/binary"

	"github.com/purefuse/purefuse/wire"
)

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

// request is one message to the server.
type request struct {
	Opcode        wire.Opcode
	Unique        uint64
	NodeID        uint64
	UID, GID, PID uint32
	ExtLen        uint16 // in units of 8 bytes, at the end of Body
	LenOff        int32  // what the header's length is off by
	Body          []byte
}

const headerSize = 40

// bytes is the message as it travels.
func (r *request) bytes() []byte {
	b := make([]byte, headerSize, headerSize+len(r.Body))
	e := binary.NativeEndian
	e.PutUint32(b[0:], uint32(int32(headerSize+len(r.Body))+r.LenOff))
	e.PutUint32(b[4:], uint32(r.Opcode))
	e.PutUint64(b[8:], r.Unique)
	e.PutUint64(b[16:], r.NodeID)
	e.PutUint32(b[24:], r.UID)
	e.PutUint32(b[28:], r.GID)
	e.PutUint32(b[32:], r.PID)
	e.PutUint16(b[36:], r.ExtLen)
	return append(b, r.Body...)
}

// sequence is one session from its first message to its end.
type sequence struct {
	Config   config
	Requests []request
}

// step is what one request led to.
type step struct {
	Replies [][]byte // replies in the order of writing; the held requests' replies among them
	Lines   []string // what reached the operations
}

// result is what a server did with a sequence. The last step is the end of the session.
type result struct {
	Steps []step
	Log   []string // the oracle's log if it was asked for
}
