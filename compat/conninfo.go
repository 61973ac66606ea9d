//go:build linux

package compat

import (
	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/lowlevel"
)

// ConnInfoOpts is what the user wants of the negotiation with the kernel, struct fuse_conn_info_opts. The zero value
// wants nothing.
type ConnInfoOpts struct {
	maxWrite, maxReadahead, maxBackground, congestionThreshold, timeGran number

	on, off                         lowlevel.Cap
	noReaddirplus, readdirplusForce bool
}

// number is a value and whether it was given.
type number struct {
	value uint32
	given bool
}

// ParseConnInfoOpts takes the options of a connection out of args, fuse_parse_conn_info_opts: max_write=, max_readahead=,
// max_background=, congestion_threshold=, time_gran=, sync_read, async_read, atomic_o_trunc, no_remote_lock,
// no_remote_flock, no_remote_posix_lock, [no_]splice_write, [no_]splice_move, [no_]splice_read, [no_]auto_inval_data,
// readdirplus=no, yes or auto, [no_]async_dio, [no_]writeback_cache.
func ParseConnInfoOpts(args *opt.Args) (*ConnInfoOpts, error) {
	o := new(ConnInfoOpts)
	var opts []opt.Opt
	for word, n := range map[string]*number{
		"max_write=": &o.maxWrite, "max_readahead=": &o.maxReadahead, "max_background=": &o.maxBackground,
		"congestion_threshold=": &o.congestionThreshold, "time_gran=": &o.timeGran,
	} {
		opts = append(opts, opt.Scan(word+"%u", &n.value), opt.Set(word, &n.given, true))
	}
	const (
		keyOn = iota
		keyOff
	)
	// Each capability that is switched on and off by words of its own; two bits mean that a word is for both.
	words := map[string]struct {
		cap lowlevel.Cap
		key int
	}{
		"async_read":           {lowlevel.CapAsyncRead, keyOn},
		"sync_read":            {lowlevel.CapAsyncRead, keyOff},
		"atomic_o_trunc":       {lowlevel.CapAtomicOTrunc, keyOn},
		"no_remote_lock":       {lowlevel.CapPosixLocks | lowlevel.CapFlockLocks, keyOff},
		"no_remote_flock":      {lowlevel.CapFlockLocks, keyOff},
		"no_remote_posix_lock": {lowlevel.CapPosixLocks, keyOff},
		"splice_write":         {lowlevel.CapSpliceWrite, keyOn},
		"no_splice_write":      {lowlevel.CapSpliceWrite, keyOff},
		"splice_move":          {lowlevel.CapSpliceMove, keyOn},
		"no_splice_move":       {lowlevel.CapSpliceMove, keyOff},
		"splice_read":          {lowlevel.CapSpliceRead, keyOn},
		"no_splice_read":       {lowlevel.CapSpliceRead, keyOff},
		"auto_inval_data":      {lowlevel.CapAutoInvalData, keyOn},
		"no_auto_inval_data":   {lowlevel.CapAutoInvalData, keyOff},
		"async_dio":            {lowlevel.CapAsyncDIO, keyOn},
		"no_async_dio":         {lowlevel.CapAsyncDIO, keyOff},
		"writeback_cache":      {lowlevel.CapWritebackCache, keyOn},
		"no_writeback_cache":   {lowlevel.CapWritebackCache, keyOff},
	}
	for word, w := range words {
		opts = append(opts, opt.Key(word, w.key))
	}
	opts = append(opts,
		opt.Set("readdirplus=no", &o.noReaddirplus, true),
		opt.Set("readdirplus=yes", &o.noReaddirplus, false),
		opt.Set("readdirplus=yes", &o.readdirplusForce, true),
		opt.Set("readdirplus=auto", &o.noReaddirplus, false),
		opt.Set("readdirplus=auto", &o.readdirplusForce, false))
	err := opt.Parse(args, opts, func(arg string, key int, _ *opt.Args) (opt.Action, error) {
		switch key {
		case keyOn:
			o.on |= words[arg].cap
		case keyOff:
			o.off |= words[arg].cap
		default:
			return opt.KeepArg, nil
		}
		return opt.Drop, nil
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Apply is fuse_apply_conn_info_opts; it is called in Operations.Init. What the kernel does not offer is passed over, and
// of two words that contradict each other the one that switches off wins, whatever their order.
func (o *ConnInfoOpts) Apply(c *lowlevel.Conn) {
	for _, n := range []struct {
		from number
		to   *uint32
	}{
		{o.maxWrite, &c.MaxWrite}, {o.maxReadahead, &c.MaxReadahead}, {o.maxBackground, &c.MaxBackground},
		{o.congestionThreshold, &c.CongestionThreshold}, {o.timeGran, &c.TimeGran},
	} {
		if n.from.given {
			*n.to = n.from.value
		}
	}
	c.WantIfCapable(o.on &^ o.off)
	c.Unwant(o.off)
	if o.noReaddirplus {
		c.Unwant(lowlevel.CapReaddirplus)
	}
	if o.readdirplusForce {
		c.Unwant(lowlevel.CapReaddirplusAuto)
	}
}
