//go:build linux

package lowlevel

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// NewLineHandler is a slog.Handler that writes each record as libfuse writes a message: the text alone, without time and
// level, followed by its attributes as key=value. Lines of one handler, and of those derived from it, do not mix. level
// nil means slog.LevelInfo; LevelTrace shows what Config.Debug asks for.
func NewLineHandler(w io.Writer, level slog.Leveler) slog.Handler {
	if level == nil {
		level = slog.LevelInfo
	}
	return &lineHandler{out: &lineWriter{w: w}, level: level}
}

type lineHandler struct {
	out    *lineWriter
	level  slog.Leveler
	attrs  string // of WithAttrs, each with a blank before it
	prefix string // of WithGroup, ends in a dot
}

type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	line := append(make([]byte, 0, 256), strings.TrimSuffix(r.Message, "\n")...)
	line = append(line, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.prefix, a)
		return true
	})
	line = append(line, '\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(line)
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b []byte
	for _, a := range attrs {
		b = appendAttr(b, h.prefix, a)
	}
	d := *h
	d.attrs += string(b)
	return &d
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	d := *h
	d.prefix += name + "."
	return &d
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Key == "" && v.Kind() != slog.KindGroup || a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, a := range v.Group() {
			b = appendAttr(b, prefix, a)
		}
		return b
	}
	b = append(b, ' ')
	b = append(b, prefix...)
	b = append(b, a.Key...)
	b = append(b, '=')
	text := v.String()
	switch v.Kind() {
	case slog.KindTime:
		text = v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		text = fmt.Sprint(v.Any())
	}
	if text == "" || slices.ContainsFunc([]rune(text), func(c rune) bool {
		return c == '"' || c == '=' || unicode.IsSpace(c) || !unicode.IsPrint(c)
	}) {
		return strconv.AppendQuote(b, text)
	}
	return append(b, text...)
}
