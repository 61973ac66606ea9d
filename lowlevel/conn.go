//go:build linux

package lowlevel

import (
	"fmt"
	"time"
)

// Conn is what FUSE_INIT offers and what the file system makes of it. It is the file system's own during Operations.Init.
type Conn struct {
	Major, Minor uint32 // the kernel's protocol version, read only
	Capable      Cap    // what the kernel and the library can do, read only

	MaxWrite            uint32        // largest write in bytes, preset to 1 MiB; at least 4096
	MaxRead             uint32        // largest read in bytes, preset to the mount option max_read, which it must equal; 0: no bound
	MaxReadahead        uint32        // bytes read ahead, preset to the kernel's offer and not above it
	MaxBackground       uint32        // background requests at once, 0: the kernel's 12; at most 65535
	CongestionThreshold uint32        // background requests from which on the kernel holds back, 0: 3/4 of MaxBackground
	TimeGran            uint32        // granularity of timestamps in nanoseconds, a power of 10, preset to 1
	MaxStackDepth       uint32        // with CapPassthrough: 0: backing files on ordinary file systems, 1: on stacked ones, too
	RequestTimeout      time.Duration // the kernel aborts the connection when a request takes longer, in seconds; 0: never
	NoInterrupt         bool          // the kernel sends no INTERRUPT

	want Cap
}

// CapError is why a capability was refused.
type CapError struct {
	Cap Cap
	Why string
}

func (e *CapError) Error() string { return fmt.Sprintf("fuse: %s: %s", e.Cap, e.Why) }

// Want asks for capabilities. It refuses, and changes nothing, if the kernel or the library cannot do one of them, or if one
// excludes another that is wanted.
func (c *Conn) Want(caps Cap) error {
	if no := caps &^ c.Capable; no != 0 {
		return &CapError{no, fmt.Sprintf("not offered by this kernel (protocol %d.%d)", c.Major, c.Minor)}
	}
	if both := CapPassthrough | CapWritebackCache; (c.want|caps)&both == both {
		return &CapError{caps & both, "passthrough and the writeback cache exclude each other"}
	}
	c.want |= caps
	return nil
}

// WantIfCapable asks for those of caps that are offered, and reports whether that is all of them.
func (c *Conn) WantIfCapable(caps Cap) bool {
	c.Want(caps & c.Capable)
	return caps&^c.want == 0
}

// Unwant takes capabilities back.
func (c *Conn) Unwant(caps Cap) { c.want &^= caps }

// Has reports whether all of caps are wanted.
func (c *Conn) Has(caps Cap) bool { return c.want&caps == caps }

// Wanted is everything that is wanted.
func (c *Conn) Wanted() Cap { return c.want }
