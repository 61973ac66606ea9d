//go:build linux

package session

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// fakeDevice is a device as far as reads and writes go: one end of a packet socket. The test plays the kernel on the other.
func fakeDevice(t *testing.T, flags int) (dev *os.File, kernel int) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(p[0], flags&unix.O_NONBLOCK != 0))
	t.Cleanup(func() { unix.Close(p[1]) })
	return os.NewFile(uintptr(p[0]), "device"), p[1]
}

func put(t *testing.T, kernel int, msg []byte) {
	_, err := unix.Write(kernel, msg)
	require.NoError(t, err)
}

func take(t *testing.T, kernel int) []byte {
	b := make([]byte, 4096)
	n, err := unix.Read(kernel, b)
	require.NoError(t, err)
	return b[:n]
}

// receiving receives on another goroutine.
func receiving(q Queue) chan error {
	errs := make(chan error, 1)
	go func() {
		var f [1]*Frame
		_, err := q.Receive(f[:])
		errs <- err
	}()
	return errs
}

// The way of a request through the device allocates nothing.
func TestDeviceAllocs(t *testing.T) {
	dev, kernel := fakeDevice(t, 0)
	tr := NewDevice(dev, nil)
	defer tr.Close()
	q := tr.First()
	for _, n := range []int{40, 100_000} {
		msg, back := message(1, n), make([]byte, 64)
		r := success(1)
		sys.As[wire.OutHeader](r.Head).Len = 20
		r.Payload = [][]byte{[]byte("data")}
		var f [1]*Frame
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, err := unix.Write(kernel, msg); err != nil {
				panic(err)
			}
			if _, err := q.Receive(f[:]); err != nil {
				panic(err)
			}
			if err := q.Reply(f[0], r); err != nil {
				panic(err)
			}
			if m, err := unix.Read(kernel, back); m != 20 || err != nil {
				panic(err)
			}
		}), "%d bytes", n)
	}
}

// Neither does that of a reply through functions of the caller's.
func TestCustomWriteAllocs(t *testing.T) {
	ch := &customChannel{io: &pipeIO{}}
	head, parts := make([]byte, 16), [][]byte{make([]byte, 4)}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if n, err := ch.write(head, parts, false); n != 20 || err != nil {
			panic(err)
		}
	}))
}

// After Close the descriptor's number may belong to another file, which late replies and notifications must not reach.
func TestLateReplyAfterClose(t *testing.T) {
	dev, kernel := fakeDevice(t, 0)
	number := int(dev.Fd())
	tr := NewDevice(dev, nil)
	require.Equal(t, number, tr.Device())
	put(t, kernel, message(5, 40))
	q := tr.First()
	f := receiveOne(t, q)
	require.NoError(t, tr.Close())
	require.Equal(t, -1, tr.Device())

	other, err := os.Create(filepath.Join(t.TempDir(), "other"))
	require.NoError(t, err)
	defer other.Close()
	if int(other.Fd()) != number {
		require.NoError(t, unix.Dup3(int(other.Fd()), number, unix.O_CLOEXEC))
		defer unix.Close(number)
	}
	require.ErrorIs(t, q.Reply(f, success(5)), syscall.EBADF)
	require.ErrorIs(t, tr.Send(success(0).Head), syscall.EBADF)
	_, err = q.Receive(make([]*Frame, 1))
	require.ErrorIs(t, err, ErrStopped)
	st, err := other.Stat()
	require.NoError(t, err)
	require.Zero(t, st.Size())
}

// Stop ends a waiting read, also of a descriptor that came in non-blocking mode; replies still work.
func TestStopWakesDevice(t *testing.T) {
	for _, flags := range []int{0, unix.O_NONBLOCK} {
		dev, kernel := fakeDevice(t, flags)
		tr := NewDevice(dev, nil)
		q := tr.First()
		put(t, kernel, message(5, 40))
		f := receiveOne(t, q)
		errs := receiving(q)
		tr.Stop()
		require.ErrorIs(t, <-errs, ErrStopped)
		require.NoError(t, q.Reply(f, success(5)))
		require.Equal(t, success(5).Head, take(t, kernel))
		require.NoError(t, tr.Close())
	}
}

// Close alone wakes readers, too.
func TestCloseWakesDevice(t *testing.T) {
	dev, kernel := fakeDevice(t, 0)
	tr := NewDevice(dev, nil)
	put(t, kernel, message(1, 40))
	tr.First().Drop(receiveOne(t, tr.First()))
	other, err := tr.Grow()
	require.NoError(t, err)
	a, b := receiving(tr.First()), receiving(other)
	require.NoError(t, tr.Close())
	require.ErrorIs(t, <-a, ErrStopped)
	require.ErrorIs(t, <-b, ErrStopped)
}

// Stop ends waiting reads of a device that is mounted, on every descriptor of it.
func TestStopWakesFuse(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountPoint(t, scratch(t), "mnt", 0)
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	require.NoError(t, err)
	opts := "fd=" + strconv.Itoa(int(dev.Fd())) + ",rootmode=40000,user_id=0,group_id=0"
	require.NoError(t, unix.Mount("test", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, opts))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	tr := NewDevice(dev, &Config{CloneFD: true})
	init := receiveOne(t, tr.First())
	require.Equal(t, uint32(wire.OpInit), sys.As[wire.InHeader](init.Header).Opcode)
	more, err := tr.Grow()
	require.NoError(t, err)
	require.NotSame(t, tr.First().(*ioQueue).ch, more.(*ioQueue).ch, "a descriptor of its own")
	a, b := receiving(tr.First()), receiving(more)
	tr.Stop()
	require.ErrorIs(t, <-a, ErrStopped)
	require.ErrorIs(t, <-b, ErrStopped)
	require.NoError(t, tr.Close())
}

// sockets is a connection over which the transport serves, and the peer's end.
func sockets(t *testing.T, network string) (Transport, net.Conn) {
	l, err := net.Listen(network, filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	peer, err := net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	c, err := l.Accept()
	require.NoError(t, err)
	tr := NewSocket(c, nil)
	t.Cleanup(func() { tr.Close() })
	return tr, peer
}

// Requests and replies over both kinds of sockets; Stop wakes the reader and leaves replies working.
func TestSocket(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			tr, peer := sockets(t, network)
			q := tr.First()
			sizes := []int{40, 41, 5000, 100_000, 40}
			sent := make(chan error, 1)
			go func() {
				for i, n := range sizes {
					if _, err := peer.Write(message(uint64(i), n)); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			var frames []*Frame
			for i, n := range sizes {
				f := receiveOne(t, q)
				require.Equal(t, message(uint64(i), n), bytesOf(f))
				frames = append(frames, f)
			}
			require.NoError(t, <-sent)
			second, err := tr.Grow()
			require.NoError(t, err)
			a, b := receiving(q), receiving(second)
			tr.Stop()
			require.ErrorIs(t, <-a, ErrStopped)
			require.ErrorIs(t, <-b, ErrStopped)
			require.Equal(t, -1, tr.Device())
			for i, f := range frames {
				r := success(uint64(i))
				sys.As[wire.OutHeader](r.Head).Len = 18
				r.Payload = [][]byte{{1}, {2}}
				require.NoError(t, q.Reply(f, r))
				got := make([]byte, 18)
				_, err := io.ReadFull(peer, got)
				require.NoError(t, err)
				require.Equal(t, append(r.Head[:16:16], 1, 2), got)
			}
		})
	}
}

// A stream has no edges: requests are found whatever the pieces are in which they arrive.
func TestStreamDribble(t *testing.T) {
	tr, peer := sockets(t, "unix")
	sizes := []int{40, 77, 40, 1200}
	sent := make(chan error, 1)
	go func() {
		for i, n := range sizes {
			for _, c := range message(uint64(i), n) {
				if _, err := peer.Write([]byte{c}); err != nil {
					sent <- err
					return
				}
			}
		}
		sent <- nil
	}()
	for i, n := range sizes {
		f := receiveOne(t, tr.First())
		require.Equal(t, message(uint64(i), n), bytesOf(f))
		tr.First().Drop(f)
	}
	require.NoError(t, <-sent)

	var all []byte
	for i, n := range sizes {
		all = append(all, message(uint64(i), n)...)
	}
	_, err := peer.Write(all)
	require.NoError(t, err)
	for i, n := range sizes {
		f := receiveOne(t, tr.First())
		require.Equal(t, message(uint64(i), n), bytesOf(f), "all in one piece")
		tr.First().Drop(f)
	}
}

// What cannot be a request ends the connection: after it nothing on a stream can be told apart.
func TestSocketBadInput(t *testing.T) {
	withLen := func(n uint32) []byte {
		m := message(1, 60)
		sys.As[wire.InHeader](m).Len = n
		return m
	}
	for name, c := range map[string]struct {
		network string
		send    []byte
		want    error
	}{
		"length below a header":  {"unix", withLen(39), syscall.EIO},
		"length 0":               {"unix", withLen(0), syscall.EIO},
		"length beyond buffers":  {"unix", withLen(1 << 30), syscall.EIO},
		"length of all":          {"unix", withLen(1<<32 - 1), syscall.EIO},
		"end in a header":        {"unix", message(1, 40)[:10], io.EOF},
		"end in a request":       {"unix", message(1, 100)[:60], io.EOF},
		"end between requests":   {"unix", nil, io.EOF},
		"packet below a header":  {"unixpacket", message(1, 40)[:39], errShortRead},
		"end of a packet socket": {"unixpacket", nil, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			tr, peer := sockets(t, c.network)
			if c.send != nil {
				_, err := peer.Write(c.send)
				require.NoError(t, err)
			}
			require.NoError(t, peer.Close())
			_, err := tr.First().Receive(make([]*Frame, 1))
			require.ErrorIs(t, err, c.want)
		})
	}
}
