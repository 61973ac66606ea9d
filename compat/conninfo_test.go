//go:build linux

package compat

import (
	"testing"

	"github.com/purefuse/purefuse/compat/opt"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/stretchr/testify/require"
)

func TestConnInfoOpts(t *testing.T) {
	const all = ll.CapAsyncRead | ll.CapPosixLocks | ll.CapFlockLocks | ll.CapAtomicOTrunc | ll.CapSpliceWrite | ll.CapSpliceMove |
		ll.CapSpliceRead | ll.CapAutoInvalData | ll.CapReaddirplus | ll.CapReaddirplusAuto | ll.CapAsyncDIO | ll.CapWritebackCache
	for list, want := range map[string]struct{ fromNone, fromAll ll.Cap }{
		"":                            {0, all},
		"async_read":                  {ll.CapAsyncRead, all},
		"sync_read":                   {0, all &^ ll.CapAsyncRead},
		"async_read,sync_read":        {0, all &^ ll.CapAsyncRead},
		"sync_read,async_read":        {0, all &^ ll.CapAsyncRead},
		"atomic_o_trunc":              {ll.CapAtomicOTrunc, all},
		"no_remote_lock":              {0, all &^ ll.CapPosixLocks &^ ll.CapFlockLocks},
		"no_remote_flock":             {0, all &^ ll.CapFlockLocks},
		"no_remote_posix_lock":        {0, all &^ ll.CapPosixLocks},
		"splice_write,no_splice_read": {ll.CapSpliceWrite, all &^ ll.CapSpliceRead},
		"splice_move,no_splice_write": {ll.CapSpliceMove, all &^ ll.CapSpliceWrite},
		"splice_read,no_splice_move":  {ll.CapSpliceRead, all &^ ll.CapSpliceMove},
		"auto_inval_data":             {ll.CapAutoInvalData, all},
		"no_auto_inval_data":          {0, all &^ ll.CapAutoInvalData},
		"readdirplus=no":              {0, all &^ ll.CapReaddirplus},
		"readdirplus=yes":             {0, all &^ ll.CapReaddirplusAuto},
		"readdirplus=auto":            {0, all},
		"readdirplus=no,readdirplus=yes,readdirplus=auto": {0, all},
		"async_dio":          {ll.CapAsyncDIO, all},
		"no_async_dio":       {0, all &^ ll.CapAsyncDIO},
		"writeback_cache":    {ll.CapWritebackCache, all},
		"no_writeback_cache": {0, all &^ ll.CapWritebackCache},
	} {
		args := opt.NewArgs("fs", "-o", "ro,"+list+",foo", "a")
		o, err := ParseConnInfoOpts(args)
		require.NoError(t, err)
		if list == "" {
			require.Equal(t, words("fs", "-o", "ro,,foo", "a"), args.Argv)
		} else {
			require.Equal(t, words("fs", "-o", "ro,foo", "a"), args.Argv, list)
		}
		none, full := ll.Conn{Capable: all}, ll.Conn{Capable: all}
		require.NoError(t, full.Want(all))
		o.Apply(&none)
		o.Apply(&full)
		require.Equal(t, want.fromNone, none.Wanted(), list)
		require.Equal(t, want.fromAll, full.Wanted(), list)
		require.Equal(t, [4]uint32{}, [4]uint32{full.MaxWrite, full.MaxReadahead, full.MaxBackground, full.TimeGran})
	}

	// What the kernel does not offer is not asked for.
	o, err := ParseConnInfoOpts(opt.NewArgs("fs", "-owriteback_cache,async_dio"))
	require.NoError(t, err)
	c := ll.Conn{Capable: ll.CapAsyncDIO}
	o.Apply(&c)
	require.Equal(t, ll.CapAsyncDIO, c.Wanted())

	o, err = ParseConnInfoOpts(opt.NewArgs("fs", "-omax_write=8192,max_readahead=0,max_background=3,congestion_threshold=2,time_gran=1000"))
	require.NoError(t, err)
	c = ll.Conn{MaxWrite: 1, MaxReadahead: 1, MaxBackground: 1, CongestionThreshold: 1, TimeGran: 1}
	o.Apply(&c)
	require.Equal(t, ll.Conn{MaxWrite: 8192, MaxReadahead: 0, MaxBackground: 3, CongestionThreshold: 2, TimeGran: 1000}, c)

	args := opt.NewArgs("fs", "-omax_write=")
	_, err = ParseConnInfoOpts(args)
	require.EqualError(t, err, "fuse: invalid parameter in option `max_write='")
	require.Equal(t, words("fs", "-omax_write="), args.Argv)
}
