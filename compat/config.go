//go:build linux

package compat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/lowlevel"
)

// LowlevelConfig takes everything that fuse_session_new understands out of args and puts it into c: debugging, io_uring
// and the mount options. Whatever is left then is an error, "fuse: unknown option(s): `...'", so a program parses its own
// options first. If c has no Logger it gets one that writes as libfuse does, through the functions of Log.
//
// io_uring and io_uring_q_depth=, and the environment variables FUSE_URING_ENABLE and FUSE_URING_QUEUE_DEPTH, which the
// options override, ask for lowlevel.TransportIOURing.
func LowlevelConfig(args *opt.Args, c *lowlevel.Config) error {
	if len(args.Argv) == 0 {
		return errors.New("fuse: empty argv passed to fuse_session_new()")
	}
	uring := atoi(os.Getenv("FUSE_URING_ENABLE")) != 0
	depth := uint32(8)
	if v, ok := os.LookupEnv("FUSE_URING_QUEUE_DEPTH"); ok {
		depth = uint32(atoi(v))
	}
	err := opt.Parse(args, []opt.Opt{
		opt.Set("debug", &c.Debug, true),
		opt.Set("-d", &c.Debug, true),
		opt.Set("--debug", &c.Debug, true),
		opt.Set("io_uring", &uring, true),
		opt.Scan("io_uring_q_depth=%u", &depth),
	}, func(arg string, key int, _ *opt.Args) (opt.Action, error) {
		if key == opt.KeyNonOpt {
			return opt.KeepArg, nil
		}
		known, err := c.Mount.ParseOption(arg)
		if known || err != nil {
			return opt.Drop, err
		}
		return opt.KeepArg, nil
	})
	if err != nil {
		return err
	}
	if len(args.Argv) > 1 {
		return fmt.Errorf("fuse: unknown option(s): `%s'", strings.Join(args.Argv[1:], " "))
	}
	log := logger(c)
	if strings.HasPrefix(args.Argv[0], "-") {
		log.Error("fuse: warning: argv[0] looks like an option, but will be ignored")
	}
	if c.Debug {
		log.Log(context.Background(), lowlevel.LevelTrace, "FUSE library version: "+PackageVersion)
	}
	if uring {
		if depth == 0 || depth > maxRingDepth {
			log.Error(fmt.Sprintf("fuse: io-uring queue depth must be > 0 and <= %d", maxRingDepth))
			depth = min(max(depth, 1), maxRingDepth)
		}
		c.Transport, c.RingDepth = lowlevel.TransportIOURing, int(depth)
	}
	return nil
}

// maxRingDepth keeps a mistyped depth from taking all addresses: each entry has memory for the largest request.
const maxRingDepth = 1024

// logger is c's logger, which it gets if it has none.
func logger(c *lowlevel.Config) *slog.Logger {
	if c.Logger == nil {
		// Debugging may yet be asked for.
		c.Logger = slog.New(NewLogHandler(debugLevel{&c.Debug}))
	}
	return c.Logger
}

// debugLevel lets messages of every level through while debugging is on.
type debugLevel struct{ debug *bool }

func (d debugLevel) Level() slog.Level {
	if *d.debug {
		return lowlevel.LevelTrace
	}
	return slog.LevelInfo
}

// atoi reads a number as atoi(3) does: 0 if there is none.
func atoi(s string) int {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	n := 0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		n++
	}
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	i, _ := strconv.Atoi(s[:n])
	return i
}
