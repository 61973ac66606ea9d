//go:build linux

package compat

import (
	"bytes"
	"fmt"
	"log/slog"
	"log/syslog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/stretchr/testify/require"
)

// capture collects the process's messages for the test.
func capture(t *testing.T) *[]string {
	var mu sync.Mutex
	lines := new([]string)
	SetLogFunc(func(level LogLevel, msg string) {
		mu.Lock()
		defer mu.Unlock()
		*lines = append(*lines, level.String()+" "+msg)
	})
	t.Cleanup(func() { SetLogFunc(nil) })
	return lines
}

func TestLogLevels(t *testing.T) {
	for level := LogEmerg; level <= LogDebug; level++ {
		require.Equal(t, level, LogLevelOf(level.Slog()), level)
	}
	for l, want := range map[slog.Level]LogLevel{
		lowlevel.LevelTrace: LogDebug, slog.LevelDebug: LogDebug, slog.LevelInfo: LogInfo, slog.LevelInfo + 1: LogInfo,
		slog.LevelInfo + 2: LogNotice, slog.LevelWarn: LogWarning, slog.LevelError: LogErr, slog.LevelError + 5: LogCrit,
		slog.LevelError + 100: LogEmerg,
	} {
		require.Equal(t, want, LogLevelOf(l), l)
	}
	require.Equal(t, slog.LevelError, LogErr.Slog())
	require.Equal(t, slog.LevelWarn, LogWarning.Slog())
	require.Equal(t, "LogLevel(8)", LogLevel(8).String())
	require.Equal(t, "LogLevel(-1)", LogLevel(-1).String())
	require.Equal(t, slog.LevelDebug, LogLevel(9).Slog())
	require.Equal(t, LogEmerg.Slog(), LogLevel(-1).Slog())
}

func TestSetLogFunc(t *testing.T) {
	var out bytes.Buffer
	stderr.w = &out
	t.Cleanup(func() { stderr.w = nil })
	lines := capture(t)
	Log(LogWarning, "fuse: %d%%\n", 5)
	require.Equal(t, words("WARNING fuse: 5%"), *lines)
	require.Empty(t, out.String())
	SetLogFunc(nil)
	Log(LogDebug, "a `%s'", "b")
	Log(LogEmerg, "c\n")
	require.Equal(t, "a `b'\nc\n", out.String())
	require.Len(t, *lines, 1)
}

func TestLogHandler(t *testing.T) {
	lines := capture(t)
	h := NewLogHandler(nil)
	require.False(t, h.Enabled(t.Context(), slog.LevelDebug))
	log := slog.New(h)
	log.Debug("not this")
	log.With("a", 1).WithGroup("g").Warn("text", "b", "x y")
	log.Error("again")
	require.Equal(t, words(`WARNING text a=1 g.b="x y"`, "ERR again"), *lines)

	// The function may log, and is called from several goroutines.
	var mu sync.Mutex
	n := 0
	SetLogFunc(func(level LogLevel, msg string) {
		if level == LogInfo {
			log.Error(msg)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		n++
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				log.Info("x")
			}
		})
	}
	wg.Wait()
	require.Equal(t, 400, n)
}

func TestSyslog(t *testing.T) {
	var out bytes.Buffer
	stderr.w = &out
	t.Cleanup(func() {
		stderr.w = nil
		sink.syslog = nil
	})
	path := filepath.Join(t.TempDir(), "log")
	require.Error(t, enableSyslog("unixgram", path, "me", syslog.LOG_DAEMON))
	Log(LogErr, "still here")
	require.Equal(t, "still here\n", out.String())

	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer daemon.Close()
	receive := func() string {
		b := make([]byte, 1000)
		n, err := daemon.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	require.NoError(t, enableSyslog("unixgram", path, "me", syslog.LOG_DAEMON))
	for level := LogEmerg; level <= LogDebug; level++ {
		Log(level, "message\n")
		got := receive()
		require.True(t, strings.HasPrefix(got, fmt.Sprintf("<%d>", int(syslog.LOG_DAEMON)|int(level))), got)
		require.Contains(t, got, " me[")
		require.True(t, strings.HasSuffix(got, ": message\n"), got)
	}
	// Closing does not bring standard error back; the next message connects again.
	CloseSyslog()
	Log(LogErr, "after")
	require.Contains(t, receive(), "after")
	require.NoError(t, enableSyslog("unixgram", path, "you", syslog.LOG_USER))
	slog.New(NewLogHandler(nil)).Warn("again")
	require.Contains(t, receive(), " you[")
	require.Equal(t, "still here\n", out.String())
	CloseSyslog()
}
