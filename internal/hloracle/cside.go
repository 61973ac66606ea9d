//go:build linux

package hloracle

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/purefuse/purefuse/internal/oracle/rig"
)

// hangs is how long a request may take: much more than it does on a machine that has other things to do.
const hangs = 60 * time.Second

// build compiles the C side into dir.
func build(dir string) (string, error) { return rig.Build(dir, "highlevel/*.c", "channel.c") }

// cSide is a session of the C oracle.
type cSide struct {
	p       *rig.Process
	tree    *tree
	step    rig.Step
	deleted []uint64 // nodes since the last request
	fill    int      // entries that the last readdir's filler took
	full    bool     // and then it had enough
}

// newCSide starts a session in a process that has none.
func newCSide(p *rig.Process, cfg *config) (*cSide, error) {
	c := &cSide{p: p}
	c.tree = newTree(cfg, func(l string) { c.step.Lines = append(c.step.Lines, l) })
	return c, p.Send(rig.Frame(nil, 'S', append(pack(nil, &cfg.setup), cfg.Options...)))
}

// exchange sends a frame and serves calls until the oracle says that it is done with it.
func (c *cSide) exchange(kind byte, body []byte, until byte) (rig.Step, error) {
	if err := c.p.Limit(hangs); err != nil {
		return rig.Step{}, err
	}
	if err := c.p.Send(rig.Frame(nil, kind, body)); err != nil {
		return rig.Step{}, err
	}
	for {
		kind, body, err := c.p.Receive()
		if err != nil {
			return c.step, fmt.Errorf("oracle: %w", err)
		}
		switch kind {
		case until:
			s := c.step
			c.step = rig.Step{}
			return s, nil
		case 'C':
			k, err := decodeCall(body)
			if err != nil {
				return c.step, err
			}
			a := c.tree.serve(k)
			if err := c.p.Send(rig.Frame(nil, 'A', a.encode())); err != nil {
				return c.step, err
			}
		case 'R':
			c.step.Replies = append(c.step.Replies, body)
		case 'L':
			c.step.Lines = append(c.step.Lines, string(body))
			var stopped int
			if n, _ := fmt.Sscanf(string(body), "taken=%d stopped=%d", &c.fill, &stopped); n == 2 {
				c.full = stopped != 0
			}
		case 'D':
			id, err := strconv.ParseUint(string(body), 10, 64)
			if err != nil {
				return c.step, err
			}
			c.deleted = append(c.deleted, id)
		default:
			return c.step, errors.New("oracle sent a frame of type " + strconv.Quote(string(kind)))
		}
	}
}

func (c *cSide) request(m []byte) (rig.Step, error) { return c.exchange('R', m, 'I') }

func (c *cSide) invalidate(path string) (rig.Step, error) { return c.exchange('P', []byte(path), 'I') }

func (c *cSide) end() (rig.Step, error) { return c.exchange('E', nil, 'X') }
