//go:build linux

// Hello_ll_uds is hello_ll without a mount: it speaks the FUSE protocol over a UNIX domain socket, to whoever plays the
// kernel at the other end (virtiofsd's kind of use, or a test).
//
//	hello_ll_uds [--socket=PATH] [-d]
//
// It waits for one connection, serves it until the peer hangs up, and ends. What it shows is session.CustomIO, libfuse's
// custom io: a session over functions of one's own. (For an ordinary socket session.NewSocket does all of this.)
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
)

const (
	defaultSocket = "/tmp/libfuse-hello-ll.sock"
	pathMax       = 107 // longest path of a socket
	help          = `    -h   --help            print help
    -V   --version         print version
    -d   -o debug          enable debug output (implies -f)
    --socket=PATH          serve on PATH
                           (default: ` + defaultSocket + `)
`
)

func main() { os.Exit(run()) }

func run() int {
	path := defaultSocket
	args := opt.NewArgs(os.Args...)
	err := opt.Parse(args, []opt.Opt{opt.Scan("--socket=%s", &path)}, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o, err := compat.ParseCmdline(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch {
	case o.ShowHelp:
		fmt.Printf("usage: %s [options]\n\n%s", os.Args[0], help)
		compat.LowlevelHelp(os.Stdout)
		return 0
	case o.ShowVersion:
		fmt.Printf("FUSE library version %s\n", compat.PackageVersion)
		compat.LowlevelVersion(os.Stdout)
		return 0
	}
	c := ll.Config{Workers: 1} // the stream has one reader
	if err = compat.LowlevelConfig(args, &c); err == nil {
		err = serve(path, &c)
	}
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[*session.SignalError](err); !ok && err != errNoPeer {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func serve(path string, c *ll.Config) error {
	conn, err := accept(path)
	if err != nil {
		return err
	}
	s, err := ll.New(&operations, c)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer s.Close()
	s.HandleSignals()
	if err := s.Use(session.NewCustomTransport(&stream{conn: conn}, nil)); err != nil {
		return errors.Join(err, conn.Close())
	}
	return s.Serve(context.Background())
}

// errNoPeer is the error of accept, which has said more.
var errNoPeer = errors.New("no connection")

// accept waits for one connection, and tells what it does.
func accept(path string) (*net.UnixConn, error) {
	if len(path) > pathMax {
		fmt.Printf("Socket path may not be longer than %d characters\n", pathMax)
		return nil, errNoPeer
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Printf("Could not delete previous socket file entry at %s. Error: %s\n", path, compat.Strerror(err))
		return nil, errNoPeer
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		fmt.Printf("Could not bind socket. Error: %s\n", compat.Strerror(err))
		return nil, errNoPeer
	}
	l.SetUnlinkOnClose(false) // whoever started us may still look for it
	defer l.Close()

	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	ctx, stop := signal.NotifyContext(context.Background(), slices.DeleteFunc(signals, signal.Ignored)...)
	defer stop()
	defer context.AfterFunc(ctx, func() { l.Close() })()

	fmt.Printf("Awaiting connection on socket at %s...\n", path)
	conn, err := l.AcceptUnix()
	if ctx.Err() != nil {
		err = syscall.EINTR
	}
	if err != nil {
		fmt.Printf("Could not accept connection. Error: %s\n", compat.Strerror(err))
		return nil, errNoPeer
	}
	fmt.Println("Accepted connection!")
	return conn, nil
}

// stream makes messages out of a stream of bytes: each begins with its length.
type stream struct {
	conn  *net.UnixConn
	write sync.Mutex
}

const headerSize = 40 // of a request

// Read reads one whole request.
func (s *stream) Read(p []byte) (int, error) {
	if _, err := io.ReadFull(s.conn, p[:headerSize]); err != nil {
		return 0, err // io.EOF: the peer hung up, which ends the session
	}
	n := int(binary.NativeEndian.Uint32(p))
	if n < headerSize || n > len(p) {
		return 0, syscall.EIO
	}
	if _, err := io.ReadFull(s.conn, p[headerSize:n]); err != nil {
		return 0, err
	}
	return n, nil
}

// Writev writes one whole reply; others must not come in between.
func (s *stream) Writev(parts [][]byte) (int, error) {
	s.write.Lock()
	defer s.write.Unlock()
	v := net.Buffers(parts)
	n, err := v.WriteTo(s.conn)
	return int(n), err
}

// Wake makes Read return although nothing came, so that a signal can end the session.
func (s *stream) Wake() error { return s.conn.SetReadDeadline(time.Unix(1, 0)) }

// Close hangs up.
func (s *stream) Close() error { return s.conn.Close() }
