//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain looks for goroutines and descriptors that the tests left behind.
func TestMain(m *testing.M) {
	files := openFiles()
	code := m.Run()
	if code == 0 && os.Getenv(envIsolated) == "" {
		if left := leaks(files); left != "" {
			fmt.Fprintln(os.Stderr, left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaks gives what is about to end the time to do so.
func leaks(files []string) (left string) {
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var b strings.Builder
		pprof.Lookup("goroutine").WriteTo(&b, 1)
		left = ""
		for g := range strings.SplitSeq(b.String(), "\n\n") {
			// This one, and what the signal package never ends.
			if strings.Contains(g, "purefuse") && !strings.Contains(g, "session.TestMain") {
				left += "goroutine left behind:\n" + g + "\n"
			}
		}
		for _, f := range openFiles() {
			if !slices.Contains(files, f) {
				left += "descriptor left open: " + f + "\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

func fresh(t *testing.T) (*Session, *pipeIO) {
	s, err := New(handlerFunc(func(uint64) {}), nil)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s, &pipeIO{requests: make(chan uint64), closed: make(chan struct{})}
}

func wrongState(t *testing.T, call, state string, err error) {
	t.Helper()
	var e *StateError
	require.ErrorAs(t, err, &e)
	require.Equal(t, StateError{call, state}, *e)
	require.Equal(t, "fuse: "+call+": session is "+state, err.Error())
}

// Each call fits one place in a session's life.
func TestStates(t *testing.T) {
	_, err := New(handlerFunc(nil), &Config{Workers: -1})
	require.Error(t, err)

	s, conn := fresh(t)
	wrongState(t, "Serve", "created", s.Serve(t.Context()))
	wrongState(t, "Send", "not attached", s.Send([]byte{1}))
	require.Equal(t, -1, s.Device())
	require.ErrorIs(t, s.Unmount(t.Context(), 0), ErrNotMounted)
	require.ErrorIs(t, s.Abort(), ErrNotMounted)
	_, err = s.StartWatchdog(time.Second, nil)
	require.ErrorIs(t, err, ErrNotMounted)

	require.NoError(t, s.Use(NewCustomTransport(conn, nil)))
	wrongState(t, "Use", "attached", s.Use(nil))
	wrongState(t, "Mount", "attached", s.Mount(t.Context(), "/"))
	served := make(chan error)
	go func() { served <- s.Serve(t.Context()) }()
	conn.requests <- 1
	wrongState(t, "Serve", "serving", s.Serve(t.Context()))
	select {
	case <-s.Ready():
		require.Fail(t, "INIT was not answered")
	case <-s.Done():
		require.Fail(t, "still serving")
	default:
	}
	s.Answered(nil)
	s.Answered(nil)
	<-s.Ready()
	require.False(t, s.Exited())
	s.Exit()
	s.Exit()
	require.NoError(t, <-served)
	require.True(t, s.Exited())
	<-s.Done()
	wrongState(t, "Serve", "stopped", s.Serve(t.Context()))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	wrongState(t, "Serve", "closed", s.Serve(t.Context()))
	wrongState(t, "Use", "closed", s.Use(nil))

	unused, _ := fresh(t)
	require.NoError(t, unused.Close())
	<-unused.Done()
}

// Serve says why it ended.
func TestServeEnds(t *testing.T) {
	odd, cause := errors.New("odd"), errors.New("cause")
	for name, c := range map[string]struct {
		read result
		act  func(s *Session, cancel context.CancelCauseFunc)
		want error
	}{
		"end of the connection": {read: result{err: io.EOF}},
		"unmounted":             {read: result{err: syscall.ENODEV}},
		"bad read":              {read: result{err: odd}, want: odd},
		"short read":            {read: result{data: []byte("x")}, want: errShortRead},
		"Exit":                  {act: func(s *Session, _ context.CancelCauseFunc) { s.Exit() }},
		"context":               {act: func(_ *Session, cancel context.CancelCauseFunc) { cancel(cause) }, want: cause},
		"Close":                 {act: func(s *Session, _ context.CancelCauseFunc) { s.Close() }},
		"INIT refused":          {act: func(s *Session, _ context.CancelCauseFunc) { s.Answered(odd) }, want: odd},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s, _ := fresh(t)
			var reads []result
			if c.act == nil {
				reads = []result{c.read}
			}
			io := script(reads, nil)
			require.NoError(t, s.Use(NewCustomTransport(io, nil)))
			served := make(chan error)
			go func() { served <- s.Serve(ctx) }()
			if c.act != nil {
				c.act(s, cancel)
			}
			err := <-served
			var state *StateError
			if name == "Close" && errors.As(err, &state) { // it was quicker than Serve
				err = nil
			}
			require.ErrorIs(t, err, c.want)
			require.NoError(t, s.Close())
			require.Equal(t, 1, io.closes)
		})
	}
}

// What ends the session before Serve ends Serve at once.
func TestExitBeforeServe(t *testing.T) {
	s, conn := fresh(t)
	s.Exit()
	require.NoError(t, s.Use(NewCustomTransport(conn, nil)))
	require.NoError(t, s.Serve(t.Context()))

	s, conn = fresh(t)
	require.NoError(t, s.Use(NewCustomTransport(conn, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Serve(ctx), context.Canceled)
}

// A request that was read when Exit comes is still answered.
func TestExitLetsHandlersEnd(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	handled := false
	s, err := New(handlerFunc(func(uint64) {
		close(entered)
		<-goOn
		handled = true
	}), nil)
	require.NoError(t, err)
	conn := &pipeIO{requests: make(chan uint64), closed: make(chan struct{})}
	require.NoError(t, s.Use(NewCustomTransport(conn, nil)))
	served := make(chan error)
	go func() { served <- s.Serve(t.Context()) }()
	conn.requests <- 1
	<-entered
	s.Exit()
	select {
	case <-served:
		require.Fail(t, "Serve is over before the handler is")
	default:
	}
	close(goOn)
	require.NoError(t, <-served)
	require.True(t, handled)
	require.NoError(t, s.Close())
}

// A signal ends Serve, which names it.
func TestServeSignal(t *testing.T) {
	s, conn := fresh(t)
	s.HandleSignals()
	s.HandleSignals()
	require.NoError(t, s.Use(NewCustomTransport(conn, nil)))
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	err := s.Serve(t.Context())
	var e *SignalError
	require.ErrorAs(t, err, &e)
	require.Equal(t, syscall.SIGHUP, e.Signal)
	require.Equal(t, "fuse: ended by hangup", err.Error())
}

// closer closes its session as soon as there is a device.
type closer struct {
	handlerFunc
	s *Session
}

func (c *closer) Begin(Transport) { c.s.Close() }

// Close ends a Mount that is under way; nothing stays mounted, and the session stays closed.
func TestCloseDuringMount(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountPoint(t, scratch(t), "mnt", 0)
	c := &closer{handlerFunc: func(uint64) {}}
	s, err := New(c, nil)
	require.NoError(t, err)
	c.s = s
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var e *StateError
	require.ErrorAs(t, s.Mount(ctx, dir), &e)
	require.Equal(t, "closed", e.State)
	require.Empty(t, mountsAt(t, dir))
	wrongState(t, "Mount", "closed", s.Mount(ctx, dir))
	<-s.Done()
}
