//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain gives the tests a mount namespace of their own, so that nothing they mount can outlive them.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		if err := ownNamespace(); err != nil {
			panic(err)
		}
		runtime.UnlockOSThread()
	}
	os.Exit(m.Run())
}

func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
}

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.EqualValues(t, 2, median([]float64{3, 1, 2}))
	require.EqualValues(t, 2.5, median([]float64{4, 1, 3, 2}))
	s := medians([]Sample{{Ops: 1, P99: 9}, {Ops: 3, P99: 7}, {Ops: 2, P99: 8}})
	require.Equal(t, Sample{Ops: 2, P99: 8}, s, "every figure has its own median")
}

func TestRatioComparesNeighboursInTime(t *testing.T) {
	// The machine halves its speed after the first repeat; the servers' ratio does not change.
	a := &Cell{Samples: []Sample{{Ops: 200}, {Ops: 100}, {Ops: 100}}}
	b := &Cell{Samples: []Sample{{Ops: 100}, {Ops: 50}, {Ops: 50}}}
	require.EqualValues(t, 2, ratio(a, b, Speed))
	require.Zero(t, ratio(a, &Cell{}, Speed))
}

func TestUsageSince(t *testing.T) {
	before := usage{1: {100, 1}, 2: {50, 5}}
	after := usage{1: {300, 4}, 3: {7, 1}} // 2 ended, 3 is new
	require.Equal(t, taskUsage{cpu: 207, switches: 4}, after.since(before))
}

func TestTargetsNameRowsAndServersThatExist(t *testing.T) {
	for _, tab := range Tables() {
		servers := map[string]bool{}
		for _, s := range tab.Servers {
			require.False(t, servers[s.Name], "%s twice in %s", s.Name, tab.Name)
			servers[s.Name] = true
		}
		rows := map[string]bool{}
		for _, r := range tab.Rows {
			rows[r.Name] = true
		}
		for _, g := range tab.Targets {
			require.True(t, servers[g.Of], "%s: %s", tab.Name, g.Of)
			require.True(t, servers[g.Peer], "%s: %s", tab.Name, g.Peer)
			for _, r := range g.Rows {
				require.True(t, rows[r], "%s: %s", tab.Name, r)
			}
		}
	}
}

// TestClientLoads runs every load of every table on a plain directory.
func TestClientLoads(t *testing.T) {
	dir := t.TempDir()
	b := newBuilder(t.Context(), dir, "")
	client, err := b.C("client", "client.c", "-static")
	require.NoError(t, err)
	src := filepath.Join(dir, "src")
	require.NoError(t, makeSource(src))
	seen := map[string]bool{}
	for _, tab := range Tables() {
		for _, r := range tab.Rows {
			line := strings.Join(r.Client, " ")
			if seen[line] {
				continue
			}
			seen[line] = true
			t.Run(line, func(t *testing.T) {
				cmd := exec.Command(client, append(r.Client, "-d", src, "-m", "2", "-w", "1", "-s", "2097152")...)
				cmd.Stdin = strings.NewReader("g")
				out, err := cmd.Output()
				require.NoError(t, err, "%s", out)
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				require.Equal(t, "ready", lines[0])
				var res clientResult
				require.NoError(t, json.Unmarshal([]byte(lines[1]), &res))
				require.Positive(t, res.Ops)
				require.Positive(t, res.NS)
				require.GreaterOrEqual(t, res.P99, res.P50)
				require.GreaterOrEqual(t, res.Max+res.Max/32, res.P99)
				if r.Unit == MBps {
					require.Positive(t, res.Bytes)
				}
			})
		}
	}
	left, err := os.ReadDir(filepath.Join(src, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)

	out, _ := exec.Command(client, "-l", "stat", "-d", "/nonexistent").Output()
	require.Contains(t, string(out), `{"error":"stat /nonexistent/data: No such file or directory"}`)
}

func TestRunMeasuresMountedServers(t *testing.T) {
	needRoot(t)
	tables, err := chooseTables(Tables(), "null-one", false)
	require.NoError(t, err)
	o := &Options{Repeats: 2, Millis: 5, Grace: 15 * time.Second, Rows: regexp.MustCompile("getattr"), Servers: regexp.MustCompile("^(C floor|libfuse -s|new libfuse -s)$")}
	rep, err := Run(t.Context(), o, tables, io.Discard)
	require.NoError(t, err)
	tab := rep.Tables[0]
	require.Len(t, tab.Rows, 1)
	require.Len(t, tab.Rows[0].Cells, 2)
	for _, c := range tab.Rows[0].Cells {
		require.Empty(t, c.Err)
		require.Len(t, c.Samples, 2)
		require.Positive(t, c.Median.Ops)
		require.Positive(t, c.Median.CPU)
		require.InDelta(t, 1, c.Median.Switches, 0.9, "one sleep a request")
	}
	require.Len(t, tab.Memory, 2)
	require.Positive(t, tab.Memory[0].Load)
	require.Equal(t, []Missing{{"new libfuse -s", "LIBFUSE_BUILD is not set"}}, tab.Missing)
	var md bytes.Buffer
	require.NoError(t, rep.Markdown(&md))
	require.Contains(t, md.String(), "| C floor |")
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), "purefuse-bench-")
}

// TestWatchdogAbortsHungConnection stops a server in the middle and expects the visit to end.
func TestWatchdogAbortsHungConnection(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, ""); err != nil {
		require.ErrorIs(t, err, syscall.EBUSY)
	}
	bu := newBuilder(t.Context(), dir, "")
	client, err := bu.C("client", "client.c", "-static")
	require.NoError(t, err)
	floor, err := bu.C("floor", "floor.c")
	require.NoError(t, err)
	r, err := start(t.Context(), Server{Name: "floor", Args: args()}, floor, filepath.Join(dir, "mnt"), "")
	require.NoError(t, err)
	defer r.stop()
	b := &bench{Options: &Options{Grace: 200 * time.Millisecond}, ctx: t.Context(), client: client}
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGSTOP))
	defer r.cmd.Process.Signal(syscall.SIGCONT) // before stop: deferred calls run backwards
	_, err = b.visit(r, Row{Client: []string{"-l", "stat"}}, 1, 0)
	require.ErrorIs(t, err, errHung)
	require.ErrorIs(t, r.Gone, errHung)
}

// TestInterruptLeavesNothing interrupts a run with servers mounted.
func TestInterruptLeavesNothing(t *testing.T) {
	needRoot(t)
	tmp := t.TempDir()
	exe := filepath.Join(tmp, "bench")
	out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	work := filepath.Join(tmp, "work")
	require.NoError(t, os.Mkdir(work, 0o755))
	cmd := exec.Command(exe, "-keep", "-tables", "null-one", "-servers", "^(C floor|libfuse mt)$")
	cmd.Env = append(os.Environ(), "TMPDIR="+work)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var pids []string
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "client:") {
		if f := strings.Fields(lines.Text()); strings.Contains(lines.Text(), " pid ") {
			pids = append(pids, f[len(f)-2])
		}
	}
	require.Len(t, pids, 2)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_, err = io.Copy(io.Discard, stderr)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	for _, pid := range pids {
		require.NoDirExists(t, "/proc/"+pid)
	}
	left, err := os.ReadDir(work)
	require.NoError(t, err)
	require.Empty(t, left)
}
