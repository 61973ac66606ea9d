//go:build linux

package oracle

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/lowlevel"
)

// serveTwin plays a sequence on the script's Go form.
func serveTwin(file *os.File, c config, requests [][]byte) (*result, error) {
	p := rig.NewPlayer(each(requests))
	s := &script{cfg: &c, file: file, line: p.Line, kept: p.Settle}
	end := func(exited bool) {
		s.releaseHeld(false)
		p.Line(fmt.Sprintf("end exited=%d", bit(exited)))
	}
	p.Last = func() { end(false) }
	cfg := &lowlevel.Config{Logger: slog.New(slog.DiscardHandler), Workers: 1}
	cfg.Mount.AllowRoot = c.Flags&fAllowRoot != 0
	cfg.Mount.MaxRead = c.MaxReadOption
	ll, err := lowlevel.New(s.operations(), cfg)
	if err != nil {
		return nil, err
	}
	err = p.Play(ll, ll.Use, func(exited bool) {
		p.Pad(len(requests) + 1)
		if exited {
			end(true)
		}
	})
	return &result{Steps: p.Steps()}, err
}

// each returns one request after the other.
func each(requests [][]byte) func() []byte {
	return func() []byte {
		if len(requests) == 0 {
			return nil
		}
		m := requests[0]
		requests = requests[1:]
		return m
	}
}
