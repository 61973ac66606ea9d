//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Report is one run.
type Report struct {
	Machine               Machine
	Repeats, Millis       int
	Seconds               float64
	LoadBefore, LoadAfter string
	Tables                []*TableResult
}

// TableResult is a table measured.
type TableResult struct {
	Table   `json:"-"`
	Rows    []*RowResult
	Memory  []Memory
	Missing []Missing
}

// RowResult is a row measured: a cell for every server that was mounted.
type RowResult struct {
	Row
	Cells []Cell
}

// Memory is a server at rest and after its loads.
type Memory struct {
	Server   string
	Idle     int64   // resident bytes
	Load     int64   // the most that was resident at the end of a visit
	IdleCPU  float64 // microseconds of CPU in an idle second
	MaxTasks int
}

// Missing is a server that could not be measured, and why.
type Missing struct{ Server, Why string }

func (r *RowResult) cell(server string) *Cell {
	for i := range r.Cells {
		if r.Cells[i].Server == server && len(r.Cells[i].Samples) > 0 {
			return &r.Cells[i]
		}
	}
	return nil
}

// ratio is the median, over the repeats, of what a and b did in the same repeat: neighbours in time share the machine's mood.
func ratio(a, b *Cell, m Metric) float64 {
	of := func(s Sample) float64 {
		switch m {
		case ServerCPU:
			return s.CPU
		case P99:
			return s.P99
		}
		return s.Ops
	}
	var v []float64
	for i := range min(len(a.Samples), len(b.Samples)) {
		if d := of(b.Samples[i]); d > 0 {
			v = append(v, of(a.Samples[i])/d)
		}
	}
	return median(v)
}

// Markdown writes the tables.
func (r *Report) Markdown(w io.Writer) error {
	p := &printer{w: w}
	p.f("%s.\n%d repeats of %d ms a visit, interleaved; load average %s before, %s after; %.0f s.\n",
		r.Machine, r.Repeats, r.Millis, r.LoadBefore, r.LoadAfter, r.Seconds)
	for _, t := range r.Tables {
		t.markdown(p)
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, a...)
	}
}

func (p *printer) row(cells ...string) { p.f("| %s |\n", strings.Join(cells, " | ")) }

func (p *printer) head(cells ...string) {
	p.row(cells...)
	p.f("|---%s|\n", strings.Repeat("|---:", len(cells)-1))
}

func (t *TableResult) markdown(p *printer) {
	p.f("\n### %s: %s\n\n", t.Name, t.Title)
	if len(t.Rows) > 0 && len(t.Rows[0].Cells) > 0 {
		t.matrix(p, "speed", func(r *RowResult, c *Cell) string { return speed(r.Unit, c.Median) })
		t.matrix(p, "server CPU, us an operation", func(r *RowResult, c *Cell) string {
			if c.Server == native {
				return ""
			}
			return number(c.Median.CPU)
		})
		t.matrix(p, "p50 / p99, us", func(r *RowResult, c *Cell) string {
			if strings.Contains(r.Name, "buffered") || r.Unit == PerEntry {
				return "" // a unit of these is a pass, not an operation
			}
			return number(c.Median.P50) + " / " + number(c.Median.P99)
		})
		t.matrix(p, "server context switches an operation", func(r *RowResult, c *Cell) string {
			if c.Server == native {
				return ""
			}
			return fmt.Sprintf("%.2f", c.Median.Switches)
		})
	}
	t.targets(p)
	if len(t.Memory) > 0 {
		p.head("memory, MiB", "idle", "under load", "threads", "CPU us in an idle second")
		for _, m := range t.Memory {
			p.row(m.Server, mib(m.Idle), mib(m.Load), fmt.Sprint(m.MaxTasks), fmt.Sprintf("%.0f", m.IdleCPU))
		}
		p.f("\n")
	}
	for _, m := range t.Missing {
		p.f("* %s is not available: %s\n", m.Server, m.Why)
	}
	for _, r := range t.Rows {
		for _, c := range r.Cells {
			if c.Err != "" {
				p.f("* %s, %s: %s\n", r.Name, c.Server, c.Err)
			}
		}
	}
}

// matrix prints one figure of every server in every row.
func (t *TableResult) matrix(p *printer, title string, figure func(*RowResult, *Cell) string) {
	head := []string{title}
	for _, r := range t.Rows {
		name := r.Name
		if title == "speed" {
			name += ", " + r.Unit.String()
		}
		head = append(head, name)
	}
	p.head(head...)
	for i, c := range t.Rows[0].Cells {
		line := []string{c.Server}
		for _, r := range t.Rows {
			text := "–"
			if c := &r.Cells[i]; len(c.Samples) > 0 {
				text = figure(r, c)
			}
			line = append(line, text)
		}
		if slices.ContainsFunc(line[1:], func(s string) bool { return s != "" && s != "–" }) {
			p.row(line...)
		}
	}
	p.f("\n")
}

func (t *TableResult) targets(p *printer) {
	first := true
	for _, g := range t.Targets {
		for _, r := range t.Rows {
			if !slices.Contains(g.Rows, r.Name) {
				continue
			}
			of, peer := r.cell(g.Of), r.cell(g.Peer)
			if of == nil || peer == nil {
				continue
			}
			if first {
				p.head("target", "of", "against", "wanted", "measured")
				first = false
			}
			what, bound := "speed", "≥"
			switch g.Metric {
			case ServerCPU:
				what, bound = "server CPU", "≤"
			case P99:
				what, bound = "p99", "≤"
			}
			p.row(r.Name+", "+what, g.Of, g.Peer, fmt.Sprintf("%s %.2f", bound, g.Factor), fmt.Sprintf("%.2f", ratio(of, peer, g.Metric)))
		}
	}
	if !first {
		p.f("\n")
	}
}

func (u Unit) String() string {
	switch u {
	case MBps:
		return "MB/s"
	case PerEntry:
		return "us an entry"
	}
	return "k/s"
}

func speed(u Unit, s Sample) string {
	switch {
	case u == MBps:
		return fmt.Sprintf("%.0f", s.Bytes/1e6)
	case u == PerEntry && s.Ops > 0:
		return number(1e6 / s.Ops)
	}
	return number(s.Ops / 1e3)
}

// number keeps three digits.
func number(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func mib(b int64) string { return fmt.Sprintf("%.1f", float64(b)/(1<<20)) }

// WriteJSON writes everything, samples included.
func (r *Report) WriteJSON(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
