//go:build linux

// Package hloracle holds the path API against C libfuse: generated sessions of a kernel that keeps its own tables are served
// by a C program on libfuse's high-level library (testdata/oracle/highlevel) and by package highlevel. Both have the same
// file system behind them, and must call it with the same arguments and answer with the same bytes; where they are meant to
// differ, a rule of docs/differences.md says how, and is asserted.
package hloracle

import (
	"fmt"
	"strings"

	"github.com/purefuse/purefuse/wire"
)

// Flags of a [config]; highlevel.h has the same.
const (
	fUseIno = 1 << iota
	fReaddirIno
	fHardRemove
	fNullpathOK
	fDirectIO
	fKernelCache
	fAutoCache
	fNoRofdFlush
	fSetMode
	fSetUID
	fSetGID
)

// keep is a timeout that Init leaves alone.
const keep = 1<<32 - 1

// setup is how both servers set up one session: struct config of highlevel.h. Timeouts are 512ths of a second.
type setup struct {
	Ops                                                       uint64 // bit n: operation n in the order of libfuse's table
	Flags, Umask, UID, GID                                    uint32
	EntryTimeout, AttrTimeout, NegativeTimeout, ACAttrTimeout uint32
}

// config is a session: both servers, and the file system behind them.
type config struct {
	setup
	Options  string // of -o
	Seed     uint64 // of the file system's whims
	Faults   uint64 // one in so many calls fails; 0: none
	Listing  listing
	OddModes bool // create may make something that is no regular file
}

// listing is how the file system lists directories.
type listing uint8

const (
	offsets  listing = iota // with offsets
	whole                   // all at once, without
	either                  // as the handle's number says
	confused                // begins with offsets and goes on without
)

func (c *config) has(o op) bool    { return c.Ops>>o&1 != 0 }
func (c *config) is(f uint32) bool { return c.Flags&f != 0 }
func (c *config) remembers() bool {
	return strings.Contains(c.Options, "forget") || strings.Contains(c.Options, "remember")
}
func (c *config) autoCache() bool {
	return c.is(fAutoCache) || strings.Contains(c.Options, "auto_cache")
}
func (c *config) without(o op) bool { return !c.has(o) }

// Requests that no kernel sends.
const (
	opInvalidate wire.Opcode = 1<<20 + iota // the server invalidates a path
	opBehind                                // somebody changes the file system without the mount: Args[0] says how
)

// ref names a node that the kernel knows by the request whose answer brought it, and its place in that. The root is 0.
type ref struct {
	Serial uint32
	Index  uint32
}

func (r ref) String() string {
	switch {
	case r.Serial == 0:
		return "root"
	case r.Index > 0:
		return fmt.Sprintf("#%d.%d", r.Serial, r.Index)
	}
	return fmt.Sprintf("#%d", r.Serial)
}

// request is one message of the kernel. Node ids and directory handles are what the answers to earlier ones made them: the
// servers may number differently, and a sequence stays meaningful when requests are left out.
type request struct {
	Serial          uint32 // keeps its value when others are left out
	Op              wire.Opcode
	Node, Node2     ref
	Handle, Handle2 uint32 // the serial of the OPEN, CREATE or OPENDIR; 0: none
	Name, Name2     string
	Data            []byte
	Args            [10]uint64 // what the fields of the operation's struct need
	UID, GID, PID   uint32
	Forgets         []forgotten
}

type forgotten struct {
	Node ref
	N    uint64
}

// sequence is one session.
type sequence struct {
	Config   config
	Requests []request
}

func (r *request) describe() string {
	var b strings.Builder
	name := r.Op.String()
	switch r.Op {
	case opInvalidate:
		name = "(invalidate path)"
	case opBehind:
		name = "(behind the mount)"
	}
	fmt.Fprintf(&b, "#%d %s node %v", r.Serial, name, r.Node)
	if r.Name != "" {
		fmt.Fprintf(&b, " %q", r.Name)
	}
	if r.Node2 != (ref{}) || r.Name2 != "" {
		fmt.Fprintf(&b, " node2 %v %q", r.Node2, r.Name2)
	}
	if r.Handle != 0 {
		fmt.Fprintf(&b, " handle #%d", r.Handle)
	}
	if r.Handle2 != 0 {
		fmt.Fprintf(&b, " handle2 #%d", r.Handle2)
	}
	if r.Args != [10]uint64{} {
		fmt.Fprintf(&b, " args %x", r.Args)
	}
	if r.Data != nil {
		fmt.Fprintf(&b, " data %d bytes", len(r.Data))
	}
	for _, f := range r.Forgets {
		fmt.Fprintf(&b, " %v:%d", f.Node, f.N)
	}
	return b.String()
}

// describe is the whole sequence as text.
func (s *sequence) describe() string {
	b := fmt.Appendf(nil, "%+v\n", s.Config)
	for i := range s.Requests {
		b = fmt.Appendf(b, "%4d %s\n", i, s.Requests[i].describe())
	}
	return string(b)
}
