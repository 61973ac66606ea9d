//go:build linux

package session

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// fdChannel is a blocking descriptor with message boundaries: the device. Its descriptor is used by number, so it is closed
// only when no call is under way: a late reply must not hit a file that has got the number since.
type fdChannel struct {
	fd     int
	file   *os.File
	busy   atomic.Int32 // calls under way; far below zero once closed
	closed atomic.Bool
}

const channelClosed = -1 << 30

func newFDChannel(f *os.File) *fdChannel {
	c := &fdChannel{fd: int(f.Fd()), file: f}
	sys.SetBlocking(c.fd) // a kick reaches a waiting read only
	return c
}

func (c *fdChannel) read(p []byte) (int, error) {
	if c.busy.Add(1) < 0 {
		c.busy.Add(-1)
		return 0, io.EOF
	}
	n, err := sys.Read(c.fd, p)
	c.busy.Add(-1)
	return n, err
}

func (c *fdChannel) write(head []byte, parts [][]byte, mayBlock bool) (int, error) {
	if c.busy.Add(1) < 0 {
		c.busy.Add(-1)
		return 0, syscall.EBADF
	}
	n, err := sys.Writev(c.fd, head, parts, mayBlock)
	c.busy.Add(-1)
	return n, err
}

// close waits for calls under way and closes the descriptor. A notification can wait in the kernel for a reply that will
// never come; after closeWait a call is certainly inside the kernel, where the number does not matter any more.
func (c *fdChannel) close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.busy.Add(channelClosed)
	end := time.Now().Add(closeWait)
	for pause := time.Microsecond; c.busy.Load() != channelClosed && time.Now().Before(end); pause = min(2*pause, 10*time.Millisecond) {
		time.Sleep(pause)
	}
	return c.file.Close()
}

// NewDevice is the Transport over an open, mounted /dev/fuse descriptor, which it owns from now on. Its reads block a
// thread each; nothing of it goes through the Go poller.
func NewDevice(f *os.File, cfg *Config) Transport { return newDevice(f, cfg) }

func newDevice(f *os.File, cfg *Config) *ioTransport {
	ch := newFDChannel(f)
	t := newIOTransport(ch, cfg.transport())
	t.device.Store(int32(ch.fd))
	t.wake = t.kick
	if cfg != nil && cfg.CloneFD {
		t.clone = cloner(ch, cfg)
	}
	return t
}

// cloner opens further descriptors of a connection; after the first failure all workers share the one there is.
func cloner(first *fdChannel, cfg *Config) func() (channel, error) {
	var refused atomic.Bool
	return func() (channel, error) {
		if refused.Load() {
			return first, nil
		}
		f, err := cloneDevice(first.fd, cfg.Mount.devicePath())
		if err != nil {
			refused.Store(true)
			cfg.logger().Warn("fuse: trying to continue without -o clone_fd.", "err", err)
			return first, nil
		}
		return newFDChannel(f), nil
	}
}

func cloneDevice(fd int, path string) (*os.File, error) {
	f, err := sys.OpenDevice(path)
	if err != nil {
		return nil, err
	}
	arg := uint32(fd)
	if _, err := sys.IoctlPtr(int(f.Fd()), wire.DevIocClone, &arg); err != nil {
		f.Close()
		return nil, os.NewSyscallError("ioctl FUSE_DEV_IOC_CLONE", err)
	}
	return f, nil
}

// kick interrupts the reads of all workers. A worker that was between two reads sees the stop flag by itself or is caught by
// a later round.
func (t *ioTransport) kick() error {
	if !t.reading(func(channel) {}) {
		return nil
	}
	k, err := sys.NewKicker()
	if err != nil {
		return err
	}
	go func() {
		defer k.Close()
		for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
			more := t.reading(func(c channel) {
				if c, ok := c.(*fdChannel); ok {
					k.Kick(c.fd)
				}
			})
			if !more {
				return
			}
			time.Sleep(pause)
		}
	}()
	return nil
}

// reading calls f for the channels on which somebody receives, and reports whether there are any.
func (t *ioTransport) reading(f func(channel)) (any bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.queues {
		if q.reading.Load() {
			any = true
			f(q.ch)
		}
	}
	return any
}

// customChannel is a channel over the caller's functions.
type customChannel struct {
	io   CustomIO
	vecs sync.Pool // of *[][]byte
	once sync.Once
	err  error
}

func (c *customChannel) read(p []byte) (int, error) { return c.io.Read(p) }

func (c *customChannel) write(head []byte, parts [][]byte, _ bool) (int, error) {
	if head == nil {
		return c.io.Writev(parts)
	}
	vec, _ := c.vecs.Get().(*[][]byte)
	if vec == nil {
		vec = new([][]byte)
	}
	*vec = append(append((*vec)[:0], head), parts...)
	n, err := c.io.Writev(*vec)
	clear(*vec)
	c.vecs.Put(vec)
	return n, err
}

// close closes once: to close may have been the way to wake a reader.
func (c *customChannel) close() error {
	c.once.Do(func() { c.err = c.io.Close() })
	return c.err
}

// NewSocket is the Transport over a connected socket. On a stream (unix, tcp) a request ends where its header says; on a
// packet socket (unixpacket) each packet is one message.
func NewSocket(c net.Conn, cfg *Config) Transport {
	return NewCustomTransport(&socketIO{c: c, packets: c.LocalAddr().Network() == "unixpacket"}, cfg)
}

// socketIO is a CustomIO over a socket. A reply is written whole before the next one begins.
type socketIO struct {
	c       net.Conn
	packets bool
	rmu     sync.Mutex
	wmu     sync.Mutex
}

func (s *socketIO) Read(p []byte) (int, error) {
	if s.packets {
		return s.c.Read(p)
	}
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if _, err := io.ReadFull(s.c, p[:headerSize]); err != nil {
		return 0, ended(err)
	}
	n := int(sys.As[wire.InHeader](p).Len)
	if n < headerSize || n > len(p) {
		return 0, syscall.EIO // what follows cannot be told from a request any more
	}
	if _, err := io.ReadFull(s.c, p[headerSize:n]); err != nil {
		return 0, ended(err)
	}
	return n, nil
}

func ended(err error) error {
	if err == io.ErrUnexpectedEOF {
		return io.EOF
	}
	return err
}

func (s *socketIO) Writev(parts [][]byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.packets {
		var msg []byte
		for _, p := range parts {
			msg = append(msg, p...)
		}
		return s.c.Write(msg)
	}
	vec := net.Buffers(parts)
	n, err := vec.WriteTo(s.c)
	return int(n), err
}

// Wake ends a waiting Read; writing goes on.
func (s *socketIO) Wake() error { return s.c.SetReadDeadline(time.Unix(1, 0)) }

func (s *socketIO) Close() error { return s.c.Close() }
