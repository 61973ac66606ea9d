//go:build linux

package main

import (
	"math"
	"testing"
	"time"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  options
		valid time.Duration
	}{
		{nil, options{}, time.Second},
		{[]string{"writeback", "flock", "xattr", "source=/a=b"}, options{writeback: true, flock: true, xattr: true, source: "/a=b"}, time.Second},
		{[]string{"writeback", "no_writeback", "flock", "no_flock", "xattr", "no_xattr"}, options{}, time.Second},
		{[]string{"cache=always", "cache=never"}, options{cache: cacheNever}, 0},
		{[]string{"cache=never", "cache=always"}, options{cache: cacheAlways}, 24 * time.Hour},
		{[]string{"cache=always", "cache=auto"}, options{}, time.Second},
		{[]string{"cache=always", "timeout=0.25"}, options{cache: cacheAlways, timeout: 0.25, timeoutSet: true}, 250 * time.Millisecond},
		{[]string{"timeout=0"}, options{timeoutSet: true}, 0},
		{[]string{"timeout= 2.5s"}, options{timeout: 2.5, timeoutSet: true}, 2500 * time.Millisecond},
		{[]string{"timeout=1e30"}, options{timeout: 1e30, timeoutSet: true}, math.MaxInt64},
	} {
		var o options
		args := opt.NewArgs("p")
		for _, w := range c.words {
			args.Add("-o" + w)
		}
		require.NoError(t, opt.Parse(args, o.templates(), nil))
		require.Len(t, args.Argv, 1)
		require.Equal(t, c.want, o)
		d, err := o.validity()
		require.NoError(t, err)
		require.Equal(t, c.valid, d, c.words)
	}
	for _, w := range []string{"cache", "cache=", "cache=x", "timeout", "source", "ro", "writeback=1", "xattr="} {
		var o options
		require.False(t, opt.Match(o.templates(), w), w)
	}
	for _, w := range []string{"timeout=", "timeout=x", "timeout=_1"} {
		var o options
		err := opt.Parse(opt.NewArgs("p", "-o"+w), o.templates(), nil)
		require.EqualError(t, err, "fuse: invalid parameter in option `"+w+"'")
	}
	_, err := (&options{timeout: -0.5, timeoutSet: true}).validity()
	require.EqualError(t, err, "timeout is negative (-0.500000)")
}
