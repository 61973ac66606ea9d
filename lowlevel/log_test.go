//go:build linux

package lowlevel

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLineHandler(t *testing.T) {
	var b strings.Builder
	log := slog.New(NewLineHandler(&b, nil))
	log.Info("   unique: 2, error: -2 (No such file or directory), outsize: 16")
	log.Debug("below the level")
	log.Error("fuse: writing device\n", "err", errors.New("no space"), "n", 3, "empty", "")
	log.With("a", 1).WithGroup("g").With("b", "x=y").Warn("w", slog.Group("h", "c", true), slog.Group("", "d", time.Second), slog.Attr{},
		slog.Group("none"), slog.Any("v", valuer{}), slog.Time("t", time.Unix(0, 5).UTC()))
	require.Equal(t, ""+
		"   unique: 2, error: -2 (No such file or directory), outsize: 16\n"+
		"fuse: writing device err=\"no space\" n=3 empty=\"\"\n"+
		"w a=1 g.b=\"x=y\" g.h.c=true g.d=1s g.v=resolved g.t=1970-01-01T00:00:00.000000005Z\n", b.String())
}

func TestLineHandlerLevel(t *testing.T) {
	var b strings.Builder
	var level slog.LevelVar
	log := slog.New(NewLineHandler(&b, &level))
	log.Debug("no")
	level.Set(LevelTrace)
	log.Log(t.Context(), LevelTrace, "trace")
	require.Equal(t, "trace\n", b.String())
}

func TestLineHandlerWritesWholeLines(t *testing.T) {
	w := &countingWriter{lines: map[string]int{}}
	log := slog.New(NewLineHandler(w, nil))
	var wg sync.WaitGroup
	for i := range 8 {
		own := log.With("i", i)
		wg.Go(func() {
			for range 100 {
				own.Info("m")
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		require.Equal(t, 100, w.lines[fmt.Sprintf("m i=%d\n", i)])
	}
}

// countingWriter counts equal writes; the handler's lock is what keeps it from racing.
type countingWriter struct{ lines map[string]int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.lines[string(p)]++
	return len(p), nil
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("resolved") }
