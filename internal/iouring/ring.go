//go:build linux

// Package iouring is a small io_uring: setup, memory, submission and completion, as much as commands to a device need.
package iouring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Command is a command to the device, IORING_OP_URING_CMD on the ring's file.
type Command struct {
	Op      uint32
	Payload []byte // the command's own bytes, at most CommandSize; they are copied
	Vec     []byte // array of struct iovec from SetVec, nil: none; it stays in place until the command was submitted
	User    uint64 // comes back in its completion
}

// Completion is the end of a command or of a poll: Res is a result or a negative errno.
type Completion struct {
	User uint64
	Res  int32
}

// CommandSize is how many bytes a command may carry: what a doubled submission entry has behind its fixed part.
const CommandSize = 80

const (
	opPollAdd  = 6
	opURingCmd = 46

	sqeFixedFile = 1 << 0

	setupCQSize    = 1 << 3
	setupSubmitAll = 1 << 7
	setupSQE128    = 1 << 10

	featSingleMmap = 1 << 0

	offSQRing = 0
	offSQEs   = 0x10000000

	enterGetEvents = 1 << 0

	registerFiles = 2
)

type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, _ uint32
	_                                                   uint64
}

type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, _ uint32
	_                                                   uint64
}

type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     sqOffsets
	cq                                                                     cqOffsets
}

// sqe is a submission entry of 128 bytes.
type sqe struct {
	opcode  uint8
	flags   uint8
	ioprio  uint16
	fd      int32
	cmdOp   uint32 // the lower half of the offset
	_       uint32
	addr    uint64
	len     uint32
	opFlags uint32
	user    uint64
	_       uint64
	cmd     [CommandSize]byte
}

type cqe struct {
	user  uint64
	res   int32
	flags uint32
}

var (
	_ = [1]struct{}{}[unsafe.Sizeof(params{})-120]
	_ = [1]struct{}{}[unsafe.Sizeof(sqe{})-128]
	_ = [1]struct{}{}[unsafe.Offsetof(sqe{}.cmd)-48]
	_ = [1]struct{}{}[unsafe.Sizeof(cqe{})-16]
)

// Ring is one io_uring with one registered file. Its user sees to it that one goroutine at a time pushes and one at a time
// pops; Enter and Pending may be called by anybody. At most as many submissions may be on their way as New was told.
type Ring struct {
	fd   int
	ring []byte
	sqes []sqe
	mem  []byte // of sqes

	sqHead, sqTail, sqMask *uint32
	cqHead, cqTail, cqMask *uint32
	cqes                   []cqe
}

// New makes a ring for that many submissions whose commands go to the descriptor file.
func New(entries, file int) (_ *Ring, err error) {
	p := params{flags: setupCQSize | setupSubmitAll | setupSQE128, cqEntries: uint32(2 * entries)}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil, os.NewSyscallError("io_uring_setup", e)
	}
	r := &Ring{fd: int(fd)} // the kernel has made it close-on-exec
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if p.features&featSingleMmap == 0 {
		return nil, errors.New("io_uring of this kernel is too old")
	}
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+uint32(unsafe.Sizeof(cqe{}))*p.cqEntries)
	if r.ring, err = mmap(r.fd, offSQRing, int(size)); err != nil {
		return nil, err
	}
	if r.mem, err = mmap(r.fd, offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{}))); err != nil {
		return nil, err
	}
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(unsafe.SliceData(r.mem))), p.sqEntries)
	r.sqHead, r.sqTail, r.sqMask = r.word(p.sq.head), r.word(p.sq.tail), r.word(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = r.word(p.cq.head), r.word(p.cq.tail), r.word(p.cq.mask)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.ring[p.cq.cqes])), p.cqEntries)
	array := unsafe.Slice(r.word(p.sq.array), p.sqEntries)
	for i := range array {
		array[i] = uint32(i)
	}
	files := [1]int32{int32(file)}
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, registerFiles, uintptr(unsafe.Pointer(&files)), 1, 0, 0); e != 0 {
		return nil, os.NewSyscallError("io_uring_register", e)
	}
	return r, nil
}

func mmap(fd int, off int64, n int) ([]byte, error) {
	b, err := unix.Mmap(fd, off, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mapping an io_uring: %w", err)
	}
	return b, nil
}

func (r *Ring) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.ring[off])) }

// next is the next free submission entry, zeroed; publish makes it visible to the kernel.
func (r *Ring) next() *sqe {
	tail := atomic.LoadUint32(r.sqTail)
	if tail-atomic.LoadUint32(r.sqHead) > *r.sqMask {
		panic("iouring: more submissions than the ring was made for")
	}
	e := &r.sqes[tail&*r.sqMask]
	*e = sqe{}
	return e
}

func (r *Ring) publish() { atomic.AddUint32(r.sqTail, 1) }

// Push queues a command; the next Enter submits it.
func (r *Ring) Push(c Command) {
	e := r.next()
	e.opcode, e.flags = opURingCmd, sqeFixedFile
	e.cmdOp, e.user = c.Op, c.User
	if c.Vec != nil {
		e.addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(c.Vec))))
		e.len = uint32(uintptr(len(c.Vec)) / unsafe.Sizeof(unix.Iovec{}))
	}
	copy(e.cmd[:], c.Payload)
	r.publish()
}

// PushPoll queues a wait for fd, any descriptor, to become readable.
func (r *Ring) PushPoll(fd int, user uint64) {
	e := r.next()
	e.opcode, e.fd, e.opFlags, e.user = opPollAdd, int32(fd), unix.POLLIN, user
	r.publish()
}

// Pending is how many submissions wait for an Enter.
func (r *Ring) Pending() int {
	return int(atomic.LoadUint32(r.sqTail) - atomic.LoadUint32(r.sqHead))
}

// Enter submits what was pushed and waits until there are that many completions. It may return earlier, with EINTR or
// without an error.
func (r *Ring) Enter(wait int) error {
	var flags uintptr
	if wait > 0 {
		flags = enterGetEvents
	}
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.Pending()), uintptr(wait), flags, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// Pop takes one completion, if there is any.
func (r *Ring) Pop() (Completion, bool) {
	head := atomic.LoadUint32(r.cqHead)
	if head == atomic.LoadUint32(r.cqTail) {
		return Completion{}, false
	}
	c := r.cqes[head&*r.cqMask]
	atomic.StoreUint32(r.cqHead, head+1)
	return Completion{c.user, c.res}, true
}

// Ready reports whether Pop would return a completion.
func (r *Ring) Ready() bool { return atomic.LoadUint32(r.cqHead) != atomic.LoadUint32(r.cqTail) }

// Close gives the ring up; nothing of it may be in use. The kernel ends what is under way some time later.
func (r *Ring) Close() error {
	if r.mem != nil {
		unix.Munmap(r.mem)
	}
	if r.ring != nil {
		unix.Munmap(r.ring)
	}
	r.mem, r.ring, r.sqes, r.cqes = nil, nil, nil, nil
	return unix.Close(r.fd)
}

// VecSize is how many bytes SetVec needs for n buffers.
func VecSize(n int) int { return n * int(unsafe.Sizeof(unix.Iovec{})) }

// SetVec writes an array of struct iovec for bufs, which like dst must not be on the Go heap, and returns it.
func SetVec(dst []byte, bufs ...[]byte) []byte {
	dst = dst[:VecSize(len(bufs))]
	vec := unsafe.Slice((*unix.Iovec)(unsafe.Pointer(unsafe.SliceData(dst))), len(bufs))
	for i, b := range bufs {
		vec[i].Base = unsafe.SliceData(b)
		vec[i].SetLen(len(b))
	}
	return dst
}
