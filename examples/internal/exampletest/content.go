//go:build linux

package exampletest

import (
	"os"
	"regexp"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Suspicious is what no server may print when nothing is wrong.
var Suspicious = regexp.MustCompile(`(?i)exception|error|warning|fatal|traceback|fault|crash|abort|uninitiali[zs]ed`)

// End unmounts and expects a clean exit.
func (e *Env) End(p *Proc, dir string) {
	e.Unmount(dir, 0)
	require.Zero(e, p.Exit(), p.Output())
	require.NotRegexp(e, Suspicious, p.Output())
	require.Nil(e, e.Mounted(dir))
}

// Eventually asks until ok, and fails if that takes very long.
func (e *Env) Eventually(what string, ok func() bool) {
	for deadline := time.Now().Add(patient); !ok(); time.Sleep(20 * time.Millisecond) {
		require.True(e, time.Now().Before(deadline), what)
	}
}

// Cached is a file's contents as a read(2) through the page cache has them.
func (e *Env) Cached(path string) string {
	b, err := os.ReadFile(path)
	require.NoError(e, err)
	return string(b)
}

// Fresh is a file's contents as the server has them: O_DIRECT goes past the page cache.
func (e *Env) Fresh(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	require.NoError(e, err)
	defer unix.Close(fd)
	p := make([]byte, 4096)
	n, err := unix.Read(fd, p)
	require.NoError(e, err)
	return string(p[:n])
}
