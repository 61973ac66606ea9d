//go:build linux

package session

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mountUnserved mounts without serving: nothing may touch the mount point.
func mountUnserved(t *testing.T, dir string) *mount {
	m, err := mountDir(t.Context(), dir, nil, mountHooks{})
	require.NoError(t, err)
	t.Cleanup(func() {
		unix.Unmount(dir, unix.MNT_DETACH)
		m.close()
	})
	return m
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patient):
		require.FailNow(t, "nothing comes")
		panic("unreachable")
	}
}

func TestWatchdog(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	for _, how := range []string{"unmount", "abort", "close"} {
		t.Run(how, func(t *testing.T) {
			m := mountUnserved(t, mountPoint(t, dir, how, 0))
			exit, expired := make(chan bool, 1), make(chan time.Time, 1)
			w, err := startWatchdog(m.dev, 50*time.Millisecond, func() { exit <- true }, func() { expired <- time.Now() })
			require.NoError(t, err)
			start := time.Now()
			switch how {
			case "unmount":
				require.NoError(t, m.unmount(t.Context(), 0))
			case "abort":
				require.NoError(t, m.abort())
			case "close":
				w.lost()
				require.NoError(t, m.close())
			}
			require.True(t, receive(t, exit))
			require.GreaterOrEqual(t, receive(t, expired).Sub(start), 50*time.Millisecond)
			w.Stop()
			w.Stop()
			w.lost()
		})
	}
	t.Run("stopped", func(t *testing.T) {
		m := mountUnserved(t, mountPoint(t, dir, "stopped", 0))
		never := func() { t.Error("called after Stop") }
		w, err := startWatchdog(m.dev, time.Hour, never, never)
		require.NoError(t, err)
		w.Stop()
		require.NoError(t, m.unmount(t.Context(), 0))
		w.Stop()

		m = mountUnserved(t, mountPoint(t, dir, "stopped in exit", 0))
		stopped := make(chan bool, 1)
		var w2 *Watchdog
		ready := make(chan bool)
		w2, err = startWatchdog(m.dev, time.Millisecond, func() { <-ready; w2.Stop(); stopped <- true }, never)
		require.NoError(t, err)
		close(ready)
		require.NoError(t, m.abort())
		require.True(t, receive(t, stopped))
	})
	(*Watchdog)(nil).Stop()
	(*Watchdog)(nil).lost()
	_, err := startWatchdog(nil, 0, nil, nil)
	require.EqualError(t, err, "fuse: watchdog: the timeout must be positive")

	mnt := mountPoint(t, dir, "process", 0)
	p := startProgram(t, watchdogProgram, 0, nil, mnt)
	require.Equal(t, "watching", p.line())
	require.NoError(t, unix.Unmount(mnt, 0))
	require.Equal(t, "exit", p.line())
	p.cmd.Wait()
	require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
}

// watchdogProgram hangs for ever once its mount is gone, if nothing ends it.
var watchdogProgram = childProgram("watchdog", func() int {
	m, err := mountBy(context.Background(), wayMount, os.Args[1], new(MountOptions), mountHooks{})
	if err == nil {
		_, err = startWatchdog(m.dev, time.Millisecond, func() { fmt.Println("exit") }, nil)
	}
	if err != nil {
		fmt.Println(err)
		return 2
	}
	fmt.Println("watching")
	select {}
})
