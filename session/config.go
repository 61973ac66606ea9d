//go:build linux

package session

import "log/slog"

// DefaultMaxWrite is the size of requests that the library is ready for unless told otherwise: 1 MiB, the kernel's own limit.
const DefaultMaxWrite = 1 << 20

// DefaultWorkers is how many workers may read requests at once: libfuse's max_threads.
const DefaultWorkers = 10

// Config is what a session can be told; the zero value is usable.
type Config struct {
	Logger      *slog.Logger // nil: slog.Default()
	Mount       MountOptions
	Workers     int   // most workers, libfuse's max_threads; 0: DefaultWorkers, and more while all of them are stuck; 1: one, as libfuse's -s
	MaxIdle     int   // most idle workers, libfuse's max_idle_threads; 0: a few, -1: all are kept
	CloneFD     bool  // each worker reads a device descriptor of its own
	MaxWrite    int   // largest request payload in bytes before FUSE_INIT settles it; 0: DefaultMaxWrite
	MaxInflight int64 // bytes of request memory, 0: no bound; receiving waits at the bound

	// Wrap, if not nil, is given the transport of each mounted device before FUSE_INIT and returns the one to use, which must
	// close it. Package uring's is a QueueSet.
	Wrap func(device Transport) Transport
}

func (c *Config) logger() *slog.Logger {
	if c == nil || c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

func (c *Config) transport() transportOptions {
	if c == nil {
		return transportOptions{payload: DefaultMaxWrite}
	}
	o := transportOptions{payload: c.MaxWrite, inflight: c.MaxInflight}
	if o.payload <= 0 {
		o.payload = DefaultMaxWrite
	}
	return o
}
