//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	sourceSize  = 64 << 20
	window      = 32 << 20 // of the file that a load touches: small, so that it stays warm
	manyEntries = 10000
)

// Sample is one visit.
type Sample struct {
	Ops      float64 `json:"ops_per_s"`
	Bytes    float64 `json:"bytes_per_s,omitempty"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	CPU      float64 `json:"server_cpu_us_per_op"`
	Client   float64 `json:"client_cpu_us_per_op"`
	Switches float64 `json:"server_switches_per_op"`
}

// Cell is one server in one row: the samples and their medians.
type Cell struct {
	Server  string   `json:"server"`
	Samples []Sample `json:"samples"`
	Median  Sample   `json:"median"`
	Err     string   `json:"error,omitempty"`
}

// clientResult is the line that the client prints.
type clientResult struct {
	Ops, Bytes, NS, CPU, P50, P99, Max int64
	Error                              string
}

// bench is one run of tables.
type bench struct {
	*Options
	ctx    context.Context
	dir    string
	build  *Builder
	client string
	log    io.Writer
}

// Run builds, mounts, visits, unmounts. Whatever happens, nothing it started is left when it returns.
func Run(ctx context.Context, o *Options, tables []Table, log io.Writer) (*Report, error) {
	dir, cleanup, err := workDir()
	if err != nil {
		return nil, err
	}
	defer cleanup()
	b := &bench{Options: o, ctx: ctx, dir: dir, log: log}
	if _, err := os.Stat("/sys/fs/fuse/connections/"); err == nil {
		// fusectl is needed by the watchdog; in this namespace a second mount of it disturbs nobody.
		if err := syscall.Mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return nil, fmt.Errorf("mount fusectl: %w", err)
		}
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return nil, err
	}
	if err := makeSource(filepath.Join(dir, "src")); err != nil {
		return nil, err
	}
	b.build = newBuilder(ctx, bin, o.LibfuseBuild)
	if b.client, err = b.build.C("client", "client.c", "-static"); err != nil {
		return nil, err
	}
	rep := &Report{Machine: machine(o.LibfuseBuild), Repeats: o.Repeats, Millis: o.Millis, LoadBefore: loadavg()}
	for _, t := range tables {
		res, err := b.table(t)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		rep.Tables = append(rep.Tables, res)
	}
	rep.LoadAfter = loadavg()
	return rep, nil
}

func (b *bench) table(t Table) (*TableResult, error) {
	res := &TableResult{Table: t}
	var live []*Running
	defer func() {
		for _, r := range live {
			r.stop()
		}
	}()
	for i, s := range t.Servers {
		if !b.Servers.MatchString(s.Name) {
			continue
		}
		var path string
		var err error
		if s.Build != nil {
			path, err = s.Build(b.build)
		}
		var r *Running
		if err == nil {
			fmt.Fprintf(b.log, "%s: mounting %s\n", t.Name, s.Name)
			r, err = start(b.ctx, s, path, filepath.Join(b.dir, "mnt", t.Name, strconv.Itoa(i)), filepath.Join(b.dir, "src"))
		}
		if b.ctx.Err() != nil {
			return nil, b.ctx.Err()
		}
		if err != nil {
			res.Missing = append(res.Missing, Missing{s.Name, err.Error()})
			continue
		}
		live = append(live, r)
	}
	if b.Keep {
		for _, r := range live {
			if r.cmd != nil {
				fmt.Fprintf(b.log, "%-28s pid %-7d %s\n", r.Name, r.cmd.Process.Pid, r.Dir)
			}
		}
		fmt.Fprintf(b.log, "client: nsenter -m -t %d %s\n", os.Getpid(), b.client)
		<-b.ctx.Done()
		return nil, b.ctx.Err()
	}
	if err := b.idle(live); err != nil {
		return nil, err
	}
	for _, row := range t.Rows {
		if !b.Rows.MatchString(row.Name) {
			continue
		}
		rr, err := b.row(t, row, live)
		if err != nil {
			return nil, err
		}
		res.Rows = append(res.Rows, rr)
	}
	for _, r := range live {
		if r.cmd != nil {
			res.Memory = append(res.Memory, Memory{r.Name, r.IdleRSS, r.LoadRSS, r.IdleCPU, r.Threads})
		}
	}
	return res, nil
}

// idle lets every server rest for a second after one answered request, and measures memory and CPU of rest.
func (b *bench) idle(live []*Running) error {
	before := make([]usage, len(live))
	for _, r := range live {
		if r.cmd != nil {
			if _, err := b.visit(r, Row{Client: []string{"-l", "stat"}}, 1, 0); err != nil && b.ctx.Err() != nil {
				return b.ctx.Err()
			}
		}
	}
	rest := func(d time.Duration) error { // not a wait for an event: the length of the measurement
		select {
		case <-time.After(d):
			return nil
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	if err := rest(500 * time.Millisecond); err != nil {
		return err
	}
	for i, r := range live {
		if r.cmd != nil {
			before[i] = readUsage(r.cmd.Process.Pid)
		}
	}
	if err := rest(time.Second); err != nil {
		return err
	}
	for i, r := range live {
		if r.cmd != nil {
			r.IdleCPU = float64(readUsage(r.cmd.Process.Pid).since(before[i]).cpu) / 1e3
			r.IdleRSS = r.rss()
		}
	}
	return nil
}

// row visits every server Repeats times: forth, back, forth, so that a drift of the machine meets all of them.
func (b *bench) row(t Table, row Row, live []*Running) (*RowResult, error) {
	cells := make([]Cell, len(live))
	order := make([]int, len(live))
	for i, r := range live {
		cells[i].Server = r.Name
		order[i] = i
	}
	for range b.Repeats {
		for _, i := range order {
			r := live[i]
			if r.Gone != nil || cells[i].Err != "" {
				continue
			}
			if t.OneCPU {
				if err := r.pin(b.CPU); err != nil {
					cells[i].Err = err.Error()
					continue
				}
			}
			row := row
			if t.OneCPU {
				row.Client = append(slices.Clip(row.Client), "-c", strconv.Itoa(b.CPU))
			}
			s, err := b.visit(r, row, b.Millis, b.WarmMillis)
			if b.ctx.Err() != nil {
				return nil, b.ctx.Err()
			}
			if err != nil {
				cells[i].Err = err.Error()
				continue
			}
			cells[i].Samples = append(cells[i].Samples, s)
		}
		slices.Reverse(order)
	}
	for i := range cells {
		if live[i].Gone != nil && cells[i].Err == "" {
			cells[i].Err = live[i].Gone.Error()
		}
		cells[i].Median = medians(cells[i].Samples)
	}
	fmt.Fprintf(b.log, "%s: %s\n", t.Name, row.Name)
	return &RowResult{Row: row, Cells: cells}, nil
}

var errHung = errors.New("hung: connection aborted by the watchdog")

// visit runs the client once on one server.
func (b *bench) visit(r *Running, row Row, millis, warm int) (s Sample, err error) {
	args := append(slices.Clone(row.Client), "-d", r.Dir, "-m", strconv.Itoa(millis), "-w", strconv.Itoa(warm), "-s", strconv.Itoa(window))
	cmd := exec.Command(b.client, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return s, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	fired := make(chan struct{})
	timeout := time.Duration(millis+warm)*time.Millisecond + b.Grace
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.abort()
		}
		cmd.Process.Kill()
		close(fired)
	})
	defer func() {
		in.Close()
		if !stop() {
			<-fired
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				r.Gone, err = errHung, errHung
			}
		}
		cmd.Wait()
		cancel()
	}()
	lines := bufio.NewScanner(out)
	next := func() (string, error) {
		if !lines.Scan() {
			return "", errors.New("client ended early")
		}
		return lines.Text(), nil
	}
	line, err := next()
	if err != nil {
		return s, err
	}
	var before, after usage
	if line == "ready" {
		if r.cmd != nil {
			before = readUsage(r.cmd.Process.Pid)
		}
		if _, err := io.WriteString(in, "g"); err != nil {
			return s, err
		}
		if line, err = next(); err != nil {
			return s, err
		}
		if r.cmd != nil {
			after = readUsage(r.cmd.Process.Pid)
			r.LoadRSS = max(r.LoadRSS, r.rss())
			r.Threads = max(r.Threads, len(after))
		}
	}
	var c clientResult
	if err := json.Unmarshal([]byte(line), &c); err != nil {
		return s, fmt.Errorf("client said %q: %w", line, err)
	}
	if c.Error != "" {
		return s, errors.New(strings.TrimSpace(c.Error))
	}
	return sample(c, after.since(before)), nil
}

func sample(c clientResult, u taskUsage) Sample {
	ops := float64(max(c.Ops, 1))
	sec := float64(max(c.NS, 1)) / 1e9
	return Sample{
		Ops: ops / sec, Bytes: float64(c.Bytes) / sec,
		P50: float64(c.P50) / 1e3, P99: float64(c.P99) / 1e3,
		CPU: float64(u.cpu) / ops / 1e3, Client: float64(c.CPU) / ops / 1e3,
		Switches: float64(u.switches) / ops,
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// medians takes the median of every figure by itself.
func medians(all []Sample) Sample {
	of := func(f func(Sample) float64) float64 {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = f(s)
		}
		return median(v)
	}
	return Sample{
		Ops:      of(func(s Sample) float64 { return s.Ops }),
		Bytes:    of(func(s Sample) float64 { return s.Bytes }),
		P50:      of(func(s Sample) float64 { return s.P50 }),
		P99:      of(func(s Sample) float64 { return s.P99 }),
		CPU:      of(func(s Sample) float64 { return s.CPU }),
		Client:   of(func(s Sample) float64 { return s.Client }),
		Switches: of(func(s Sample) float64 { return s.Switches }),
	}
}
