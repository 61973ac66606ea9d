//go:build linux

package highlevel

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// start serves a file system to a fake kernel.
func start(t testing.TB, ops *Operations, cfg *Config) (*FS, *fusetest.Kernel) {
	t.Helper()
	return startAs(t, fusetest.Options{}, ops, cfg)
}

func startAs(t testing.TB, o fusetest.Options, ops *Operations, cfg *Config) (*FS, *fusetest.Kernel) {
	t.Helper()
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: lowlevel.LevelTrace}))
	}
	c.MaxIdle = -1
	f, err := New(ops, &c, "private")
	require.NoError(t, err)
	k := o.Bare(t)
	require.NoError(t, f.Session().Use(k.Transport()))
	served := make(chan error, 1)
	go func() { served <- f.Serve(context.Background()) }()
	t.Cleanup(func() {
		require.NoError(t, f.Close())
		<-served
	})
	require.NoError(t, k.Init())
	return f, k
}

// nodes waits until the table has n nodes, the root included: FORGET has no reply that says when it is done.
func (f *FS) nodes(t testing.TB, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		f.mu.Lock()
		got := f.ids.used
		f.mu.Unlock()
		if int(got) == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d nodes, not %d", got, n)
		}
	}
}
