//go:build linux

// Package rig is what the oracles of both APIs are made of: C programs on libfuse that are driven frame by frame, purefuse
// sessions that are driven the same way, and requests and replies as text.
package rig

import (
	"encoding/binary"

	"github.com/purefuse/purefuse/wire"
)

// Request is one message to the server.
type Request struct {
	Opcode        wire.Opcode
	Unique        uint64
	NodeID        uint64
	UID, GID, PID uint32
	ExtLen        uint16 // in units of 8 bytes, at the end of Body
	LenOff        int32  // what the header's length is off by
	Body          []byte
}

const headerSize = 40

// Bytes is the message as it travels.
func (r *Request) Bytes() []byte {
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

// Step is what one request led to.
type Step struct {
	Replies [][]byte // replies in the order of writing; the held requests' replies among them
	Lines   []string // what reached the operations
}

// Result is what a server did with a sequence. The last step is the end of the session.
type Result struct {
	Steps []Step
	Log   []string // the oracle's log if it was asked for
}
