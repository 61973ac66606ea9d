//go:build linux

// Package session is one mount's life: the Transport seam with its /dev/fuse and socket forms, mounting and unmounting, the
// serve loop and its workers, signals, going into the background, and the watchdog over the teardown.
//
// It moves requests and knows nothing of their meaning: a Handler (package lowlevel) decodes and answers them.
package session

import "io"

// Frame is one request in the parts in which io_uring delivers it. Its memory belongs to the request until Queue.Reply or
// Queue.Drop gives the frame back, from whichever goroutine that happens.
type Frame struct {
	Header  []byte // struct fuse_in_header
	Op      []byte // fixed argument of the opcode; with Joined everything behind the header
	Payload []byte // names, write data, forget lists, extensions
	Joined  bool   // the transport delivers Op and Payload in one piece, to be split by opcode
	URing   bool   // came through io_uring

	Owner any // kept by the Handler across the frame's uses, so that it needs no pool of its own
	Data  any // kept by the transport
}

// Reply is one answer: struct fuse_out_header followed by the opcode's fixed part in Head, and what follows it. The
// transport is done with the memory when Queue.Reply returns.
type Reply struct {
	Head    []byte
	Payload [][]byte
}

// Queue delivers requests. One goroutine at a time calls Receive; everything else may be called from any goroutine.
type Queue interface {
	// Receive waits for requests and returns how many of dst it filled. io.EOF: the connection ended; ErrStopped: Stop was called.
	Receive(dst []*Frame) (int, error)
	// Room returns n bytes in which a reply to f may be built without a later copy. It is good until the reply.
	Room(f *Frame, n int) []byte
	// Reply sends the answer and gives the frame back, also if it returns an error. ENOENT: nobody waits any
	// more, the connection was aborted.
	Reply(f *Frame, r *Reply) error
	// Drop gives back a frame for which no reply is due.
	Drop(f *Frame)
}

// Limits is what FUSE_INIT settled.
type Limits struct {
	MaxWrite int // largest write payload in bytes
	MaxRead  int // largest read reply in bytes
	Minor    uint32
	URing    bool
}

// Transport carries one connection: /dev/fuse, a socket, caller-supplied functions, the fake kernel, io_uring.
type Transport interface {
	// First carries FUSE_INIT; it exists before Start and stays in use after it.
	First() Queue
	// Start is called once, after FUSE_INIT was decoded and before it is answered.
	Start(Limits) error
	// Grow returns a further queue for one more worker, nil if the transport has no more.
	Grow() (Queue, error)
	// Retire takes back a queue whose worker ended.
	Retire(Queue)
	// Send writes an unsolicited message (a notification).
	Send(parts ...[]byte) error
	// Stop makes every Receive return ErrStopped once it has nothing in hand; replies still work.
	Stop()
	// Device is the descriptor of the connection for its ioctls, -1 if there is none.
	Device() int
	io.Closer
}

// QueueSet is a Transport whose Start may add queues, each for a worker of its own.
type QueueSet interface {
	Transport
	// Queues are those queues. Each gets a goroutine, once FUSE_INIT was answered and the session is served, that calls
	// Receive from then on; handlers run on it. If Receive fails otherwise than with io.EOF or ErrStopped, requests may have been
	// lost, and the session ends the connection.
	Queues() []Queue
}

// Handler is what a session serves: package lowlevel's dispatcher.
type Handler interface {
	// Handle takes one request; it must see to it that the frame is replied to or dropped, now or later.
	Handle(q Queue, f *Frame)
	// Begin is called before the first request of a transport; whatever an earlier one negotiated is void.
	Begin(t Transport)
	// End is called when no further request will arrive.
	End()
}
