//go:build linux

package compat

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"strings"
	"sync"

	"github.com/purefuse/purefuse/lowlevel"
)

// LogLevel is how grave a message is, enum fuse_log_level: syslog's numbers.
type LogLevel int

// The levels, gravest first.
const (
	LogEmerg LogLevel = iota
	LogAlert
	LogCrit
	LogErr
	LogWarning
	LogNotice
	LogInfo
	LogDebug
)

var logNames = []string{"EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"}

// String returns the name without FUSE_LOG_.
func (l LogLevel) String() string {
	if l < 0 || int(l) >= len(logNames) {
		return fmt.Sprintf("LogLevel(%d)", int(l))
	}
	return logNames[l]
}

// Slog is the level for slog: the four that slog names have its numbers, the graver ones follow Error, and notices are
// between Info and Warn.
func (l LogLevel) Slog() slog.Level {
	switch {
	case l >= LogDebug:
		return slog.LevelDebug
	case l == LogInfo:
		return slog.LevelInfo
	case l == LogNotice:
		return slog.LevelInfo + 2
	case l == LogWarning:
		return slog.LevelWarn
	}
	return slog.LevelError + 4*slog.Level(LogErr-max(l, LogEmerg))
}

// LogLevelOf is the level of a slog record, the other way round; what debugging prints has LogDebug.
func LogLevelOf(l slog.Level) LogLevel {
	for level := LogEmerg; level < LogDebug; level++ {
		if l >= level.Slog() {
			return level
		}
	}
	return LogDebug
}

// LogFunc gets each message, without a newline at its end. It may be called from any goroutine, from several at once.
type LogFunc func(level LogLevel, msg string)

// sink is where the messages of the whole process go, as in libfuse.
var sink struct {
	sync.RWMutex
	f      LogFunc        // nil: the default
	syslog *syslog.Writer // what the default is, nil: standard error
}

// stderr is written to under a lock, so that lines do not mix.
var stderr struct {
	sync.Mutex
	w io.Writer
}

// Log logs a message, fuse_log. Nothing is filtered by level.
func Log(level LogLevel, format string, args ...any) {
	deliver(level, fmt.Sprintf(format, args...))
}

// deliver passes a message to the sink.
func deliver(level LogLevel, msg string) {
	msg = strings.TrimSuffix(msg, "\n")
	sink.RLock()
	f, daemon := sink.f, sink.syslog
	sink.RUnlock()
	switch {
	case f != nil:
		f(level, msg)
	case daemon != nil:
		toSyslog(daemon, level, msg)
	default:
		stderr.Lock()
		defer stderr.Unlock()
		w := stderr.w
		if w == nil {
			w = os.Stderr
		}
		io.WriteString(w, msg+"\n")
	}
}

// SetLogFunc has f called for each message from now on, fuse_set_log_func; nil restores the default. As in C this is one
// for the process: it serves Log, and the configurations that got their Logger from LowlevelConfig or HighlevelConfig.
func SetLogFunc(f LogFunc) {
	sink.Lock()
	defer sink.Unlock()
	sink.f = f
}

// EnableSyslog makes syslog the default in place of standard error, fuse_log_enable_syslog. ident precedes each message,
// "" is the program's name; facility is one of syslog.LOG_USER, LOG_DAEMON and so on. Messages carry the process id,
// LOG_PID. An error says that no syslog daemon listens; then nothing has changed.
func EnableSyslog(ident string, facility syslog.Priority) error {
	return enableSyslog("", "", ident, facility)
}

func enableSyslog(network, address, ident string, facility syslog.Priority) error {
	w, err := syslog.Dial(network, address, facility|syslog.LOG_INFO, ident)
	if err != nil {
		return err
	}
	sink.Lock()
	old := sink.syslog
	sink.syslog = w
	sink.Unlock()
	if old != nil {
		old.Close()
	}
	return nil
}

// CloseSyslog closes the connection to the syslog daemon, fuse_log_close_syslog. Syslog stays the default: the next
// message connects again.
func CloseSyslog() {
	sink.RLock()
	defer sink.RUnlock()
	if sink.syslog != nil {
		sink.syslog.Close()
	}
}

// toSyslog drops what the daemon does not take, as syslog(3) does.
func toSyslog(w *syslog.Writer, level LogLevel, msg string) {
	send := []func(string) error{w.Emerg, w.Alert, w.Crit, w.Err, w.Warning, w.Notice, w.Info, w.Debug}
	send[min(max(level, LogEmerg), LogDebug)](msg)
}

// NewLogHandler is a slog.Handler whose records go the way of Log, each as one line: its message, followed by its
// attributes as key=value. level nil means slog.LevelInfo.
func NewLogHandler(level slog.Leveler) slog.Handler {
	line := new(strings.Builder)
	return &logHandler{&sync.Mutex{}, line, lowlevel.NewLineHandler(line, level)}
}

type logHandler struct {
	mu   *sync.Mutex // of line
	line *strings.Builder
	slog.Handler
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	h.line.Reset()
	err := h.Handler.Handle(ctx, r)
	line := h.line.String()
	h.mu.Unlock() // a LogFunc may log itself
	deliver(LogLevelOf(r.Level), line)
	return err
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.mu, h.line, h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.mu, h.line, h.Handler.WithGroup(name)}
}
