//go:build linux

package oracle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/purefuse/purefuse/internal/oracle/rig"
)

// build compiles the oracle into dir and returns its path.
func build(dir string) (string, error) { return rig.Build(dir, "*.c") }

// message is a request as the oracle gets it.
type message struct {
	data      []byte
	malformed bool // the script fails it without keeping it
	nothing   bool // the oracle only says that it is done
}

// run sends a whole sequence at once and collects what comes of it.
func run(p *rig.Process, c config, requests []message) (*result, error) {
	var cfg bytes.Buffer
	if err := binary.Write(&cfg, binary.NativeEndian, &c); err != nil {
		return nil, err
	}
	out := rig.Frame(nil, 'S', cfg.Bytes())
	for _, m := range requests {
		kind := byte('R')
		switch {
		case m.malformed:
			kind = 'M'
		case m.nothing:
			kind = 'N'
		}
		out = rig.Frame(out, kind, m.data)
	}
	out = rig.Frame(out, 'E', nil)
	sent := make(chan error, 1)
	go func() { sent <- p.Send(out) }()
	res, err := collect(p, len(requests))
	if err != nil {
		// The process is gone or lost: let its stderr say why.
		return nil, errors.Join(err, p.Stop(), <-sent)
	}
	return res, <-sent
}

func collect(p *rig.Process, n int) (*result, error) {
	res := &result{Steps: make([]step, 1, n+1)}
	for {
		kind, body, err := p.Receive()
		if err != nil {
			return nil, fmt.Errorf("oracle in step %d: %w", len(res.Steps)-1, err)
		}
		s := &res.Steps[len(res.Steps)-1]
		switch kind {
		case 'R':
			s.Replies = append(s.Replies, body)
		case 'L':
			s.Lines = append(s.Lines, string(body))
		case 'D':
			res.Log = append(res.Log, string(body))
		case 'I':
			res.Steps = append(res.Steps, step{})
		case 'X':
			if len(res.Steps) != n+1 {
				return nil, fmt.Errorf("oracle made %d steps of %d requests", len(res.Steps)-1, n)
			}
			return res, nil
		default:
			return nil, fmt.Errorf("oracle sent a frame of type %q", kind)
		}
	}
}
