//go:build linux

package lowlevel_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// wireFlag is what a capability is in INIT; those that are not here stay with the library.
var wireFlag = map[lowlevel.Cap]wire.InitFlags{
	lowlevel.CapAsyncRead: wire.InitAsyncRead, lowlevel.CapPosixLocks: wire.InitPosixLocks, lowlevel.CapAtomicOTrunc: wire.InitAtomicOTrunc,
	lowlevel.CapExportSupport: wire.InitExportSupport, lowlevel.CapDontMask: wire.InitDontMask, lowlevel.CapFlockLocks: wire.InitFlockLocks,
	lowlevel.CapAutoInvalData: wire.InitAutoInvalData, lowlevel.CapReaddirplus: wire.InitDoReaddirplus,
	lowlevel.CapReaddirplusAuto: wire.InitReaddirplusAuto, lowlevel.CapAsyncDIO: wire.InitAsyncDIO, lowlevel.CapWritebackCache: wire.InitWritebackCache,
	lowlevel.CapParallelDirops: wire.InitParallelDirops, lowlevel.CapPosixACL: wire.InitPosixACL, lowlevel.CapHandleKillpriv: wire.InitHandleKillpriv,
	lowlevel.CapHandleKillprivV2: wire.InitHandleKillprivV2, lowlevel.CapCacheSymlinks: wire.InitCacheSymlinks,
	lowlevel.CapExplicitInvalData: wire.InitExplicitInvalData, lowlevel.CapSetxattrExt: wire.InitSetxattrExt,
	lowlevel.CapDirectIOAllowMmap: wire.InitDirectIOAllowMmap, lowlevel.CapPassthrough: wire.InitPassthrough,
	lowlevel.CapNoExportSupport: wire.InitNoExportSupport, lowlevel.CapAllowIdmap: wire.InitAllowIdmap, lowlevel.CapSecurityCtx: wire.InitSecurityCtx,
}

// negotiated runs INIT and returns its answer, of which body is the raw form.
func negotiated(t *testing.T, o fusetest.Options, ops *lowlevel.Operations, cfg *lowlevel.Config) (k *fusetest.Kernel, out wire.InitOut, size int) {
	t.Helper()
	o.OnReply = func(msg []byte) {
		if size == 0 {
			size = len(msg) - 16
		}
	}
	k = o.New(t, ops, cfg)
	return k, k.InitReply(), size
}

// TestInitMinors negotiates with the kernels of all times.
func TestInitMinors(t *testing.T) {
	for minor := uint32(1); minor <= wire.KernelMinor; minor++ {
		t.Run(fmt.Sprint(minor), func(t *testing.T) {
			var conn lowlevel.Conn
			ops := yes()
			ops.Init = func(c *lowlevel.Conn) error { conn = *c; return nil }
			k, out, size := negotiated(t, fusetest.Options{Minor: minor}, ops, nil)
			require.EqualValues(t, 7, out.Major)
			require.EqualValues(t, wire.KernelMinor, out.Minor)
			require.EqualValues(t, 7, conn.Major)
			require.Equal(t, minor, conn.Minor)
			require.Equal(t, minor, k.Session().Conn().Minor)
			switch {
			case minor < 5:
				require.Equal(t, 8, size)
			case minor < 23:
				require.Equal(t, 24, size)
			default:
				require.Equal(t, 64, size)
			}
			offered := fusetest.OfferedFlags(minor)
			for c, f := range wireFlag {
				require.Equal(t, offered&f != 0, conn.Capable&c != 0, "%v", c)
			}
			require.Equal(t, minor >= 14, conn.Capable&lowlevel.CapSpliceWrite != 0)
			require.Equal(t, minor >= 18, conn.Capable&lowlevel.CapIoctlDir != 0)
			require.Equal(t, minor >= 38, conn.Capable&lowlevel.CapExpireOnly != 0)
			if minor < 5 {
				return
			}
			want := wire.InitBigWrites
			on := wire.InitAsyncRead | wire.InitPosixLocks | wire.InitAtomicOTrunc | wire.InitFlockLocks | wire.InitAutoInvalData |
				wire.InitDoReaddirplus | wire.InitReaddirplusAuto | wire.InitAsyncDIO | wire.InitMaxPages | wire.InitExt
			want |= on & offered
			got := wire.JoinInitFlags(out.Flags, out.Flags2)
			require.Equal(t, want, got, "%v", want^got)
			if minor >= 6 {
				require.EqualValues(t, 128<<10, out.MaxReadahead)
			} else {
				require.Zero(t, out.MaxReadahead)
			}
			if minor >= 28 {
				require.EqualValues(t, 1<<20, out.MaxWrite)
				require.EqualValues(t, (1<<20)/sys.PageSize, out.MaxPages)
			} else {
				require.EqualValues(t, 32*sys.PageSize, out.MaxWrite)
				require.Zero(t, out.MaxPages)
			}
			require.EqualValues(t, map[bool]uint32{true: 1}[minor >= 23], out.TimeGran)
			require.Zero(t, out.MaxBackground)
			require.Zero(t, out.MaxStackDepth)
			_, err := k.Getattr(root)
			require.NoError(t, err)
		})
	}
}

// TestInitDefaults has the library want what the operations that are there need.
func TestInitDefaults(t *testing.T) {
	all := yes()
	none := wire.InitPosixLocks | wire.InitFlockLocks | wire.InitDoReaddirplus | wire.InitReaddirplusAuto
	for name, c := range map[string]struct {
		ops  lowlevel.Operations
		want wire.InitFlags
	}{
		"none":                {lowlevel.Operations{}, 0},
		"getlk only":          {lowlevel.Operations{Getlk: all.Getlk}, 0},
		"locks":               {lowlevel.Operations{Getlk: all.Getlk, Setlk: all.Setlk}, wire.InitPosixLocks},
		"flock":               {lowlevel.Operations{Flock: all.Flock}, wire.InitFlockLocks},
		"readdir":             {lowlevel.Operations{Readdir: all.Readdir}, 0},
		"readdirplus":         {lowlevel.Operations{Readdirplus: all.Readdirplus}, wire.InitDoReaddirplus},
		"readdir+readdirplus": {lowlevel.Operations{Readdir: all.Readdir, Readdirplus: all.Readdirplus}, wire.InitDoReaddirplus | wire.InitReaddirplusAuto},
	} {
		t.Run(name, func(t *testing.T) {
			k := fusetest.New(t, &c.ops, nil)
			require.Equal(t, c.want, k.Flags()&none)
			require.False(t, k.Session().Conn().Capable&lowlevel.CapSpliceRead == 0)
		})
	}
	ops := &lowlevel.Operations{WriteBuf: func(lowlevel.WriteReq, lowlevel.NodeID, *lowlevel.BufVec, int64, *lowlevel.FileInfo) {}}
	c := fusetest.New(t, ops, nil).Session().Conn()
	require.True(t, c.Has(lowlevel.CapSpliceRead))
	c = fusetest.New(t, &lowlevel.Operations{}, nil).Session().Conn()
	require.False(t, c.Has(lowlevel.CapSpliceRead))
}

// TestWant asks for each capability by itself, of kernels that have it and that do not.
func TestWant(t *testing.T) {
	for c, flag := range wireFlag {
		ops := &lowlevel.Operations{Init: func(conn *lowlevel.Conn) error {
			conn.Unwant(conn.Wanted())
			return conn.Want(c)
		}}
		k := fusetest.New(t, ops, nil)
		require.Equal(t, flag|wire.InitMaxPages|wire.InitExt|wire.InitBigWrites, k.Flags(), "%v", c)
		conn := k.Session().Conn()
		require.True(t, conn.Has(c))

		o := fusetest.Options{Flags: fusetest.OfferedFlags(wire.KernelMinor) &^ flag, NoInit: true}
		k = o.New(t, ops, &lowlevel.Config{Logger: quiet})
		require.Equal(t, syscall.EPROTO, k.Init(), "%v", c)
		ops.Init = func(conn *lowlevel.Conn) error {
			if conn.WantIfCapable(c) {
				return errors.New("capable")
			}
			return nil
		}
		k, _, _ = negotiated(t, fusetest.Options{Flags: o.Flags}, ops, nil)
		require.Zero(t, k.Flags()&flag)
	}
	ops := &lowlevel.Operations{Init: func(c *lowlevel.Conn) error {
		if err := c.Want(lowlevel.CapOverIOUring); err == nil {
			return errors.New("io_uring without a ring")
		}
		if err := c.Want(lowlevel.CapWritebackCache); err != nil {
			return err
		}
		before := c.Wanted()
		err := c.Want(lowlevel.CapPassthrough)
		if ce, ok := errors.AsType[*lowlevel.CapError](err); !ok || ce.Cap != lowlevel.CapPassthrough || c.Wanted() != before {
			return fmt.Errorf("wanted: %v, error %v", c.Wanted(), err)
		}
		return nil
	}}
	fusetest.New(t, ops, nil)
}

// TestInitFields sets what Init may set, also out of range.
func TestInitFields(t *testing.T) {
	page := uint32(sys.PageSize)
	for name, c := range map[string]struct {
		o    fusetest.Options
		cfg  lowlevel.Config
		set  func(*lowlevel.Conn)
		want func(*wire.InitOut) // from what is answered if nothing is set
	}{
		"max_write":         {set: func(c *lowlevel.Conn) { c.MaxWrite = 5 * page }, want: func(o *wire.InitOut) { o.MaxWrite, o.MaxPages = 5*page, 5 }},
		"max_write odd":     {set: func(c *lowlevel.Conn) { c.MaxWrite = 5*page + 1 }, want: func(o *wire.InitOut) { o.MaxWrite, o.MaxPages = 5*page+1, 6 }},
		"max_write 0":       {set: func(c *lowlevel.Conn) { c.MaxWrite = 0 }, want: func(o *wire.InitOut) { o.MaxWrite, o.MaxPages = 4096, 1 }},
		"max_write 100":     {set: func(c *lowlevel.Conn) { c.MaxWrite = 100 }, want: func(o *wire.InitOut) { o.MaxWrite, o.MaxPages = 4096, 1 }},
		"max_write 2 MiB":   {set: func(c *lowlevel.Conn) { c.MaxWrite = 2 << 20 }, want: func(o *wire.InitOut) { o.MaxWrite, o.MaxPages = 2<<20, uint16((2<<20)/page) }},
		"max_write, 7.22":   {o: fusetest.Options{Minor: 27}, set: func(c *lowlevel.Conn) { c.MaxWrite = 1 << 30 }, want: func(o *wire.InitOut) { o.MaxWrite = 32 * page }},
		"readahead":         {set: func(c *lowlevel.Conn) { c.MaxReadahead = 4096 }, want: func(o *wire.InitOut) { o.MaxReadahead = 4096 }},
		"readahead more":    {set: func(c *lowlevel.Conn) { c.MaxReadahead = 1 << 30 }, want: func(*wire.InitOut) {}},
		"background":        {set: func(c *lowlevel.Conn) { c.MaxBackground = 40 }, want: func(o *wire.InitOut) { o.MaxBackground, o.CongestionThreshold = 40, 30 }},
		"background more":   {set: func(c *lowlevel.Conn) { c.MaxBackground = 1 << 20 }, want: func(o *wire.InitOut) { o.MaxBackground, o.CongestionThreshold = 65535, 49151 }},
		"background, 7.12":  {o: fusetest.Options{Minor: 12}, set: func(c *lowlevel.Conn) { c.MaxBackground = 40 }, want: func(*wire.InitOut) {}},
		"congestion":        {set: func(c *lowlevel.Conn) { c.MaxBackground, c.CongestionThreshold = 40, 50 }, want: func(o *wire.InitOut) { o.MaxBackground, o.CongestionThreshold = 40, 40 }},
		"congestion only":   {set: func(c *lowlevel.Conn) { c.CongestionThreshold = 50 }, want: func(*wire.InitOut) {}},
		"time_gran":         {set: func(c *lowlevel.Conn) { c.TimeGran = 1e9 }, want: func(o *wire.InitOut) { o.TimeGran = 1e9 }},
		"time_gran, 7.22":   {o: fusetest.Options{Minor: 22}, set: func(c *lowlevel.Conn) { c.TimeGran = 1e9 }, want: func(*wire.InitOut) {}},
		"stack depth alone": {set: func(c *lowlevel.Conn) { c.MaxStackDepth = 1 }, want: func(*wire.InitOut) {}},
		"passthrough": {set: func(c *lowlevel.Conn) { c.Want(lowlevel.CapPassthrough); c.MaxStackDepth = 1 }, want: func(o *wire.InitOut) {
			o.MaxStackDepth = 2
			o.Flags2 |= uint32(wire.InitPassthrough >> 32)
		}},
		"timeout": {set: func(c *lowlevel.Conn) { c.RequestTimeout = 20*time.Second + 1 }, want: func(o *wire.InitOut) {
			o.RequestTimeout = 21
			o.Flags2 |= uint32(wire.InitRequestTimeout >> 32)
		}},
		"timeout, 7.42": {o: fusetest.Options{Minor: 42}, set: func(c *lowlevel.Conn) { c.RequestTimeout = time.Minute }, want: func(*wire.InitOut) {}},
		"max_read":      {cfg: lowlevel.Config{Mount: session.MountOptions{MaxRead: 8192}}, set: func(*lowlevel.Conn) {}, want: func(*wire.InitOut) {}},
	} {
		t.Run(name, func(t *testing.T) {
			_, want, _ := negotiated(t, c.o, &lowlevel.Operations{}, &c.cfg)
			c.want(&want)
			_, got, _ := negotiated(t, c.o, &lowlevel.Operations{Init: func(conn *lowlevel.Conn) error { c.set(conn); return nil }}, &c.cfg)
			require.Equal(t, want, got)
		})
	}
}

// TestInitMaxRead has the mount option and Init disagree.
func TestInitMaxRead(t *testing.T) {
	ops := &lowlevel.Operations{Init: func(c *lowlevel.Conn) error { c.MaxRead = 4096; return nil }}
	k := fusetest.Options{NoInit: true}.New(t, ops, &lowlevel.Config{Logger: quiet})
	require.Equal(t, syscall.EPROTO, k.Init())
}

// TestInitMajor has kernels of other major versions: a newer one comes again with ours, an older one is refused.
func TestInitMajor(t *testing.T) {
	k, out, size := negotiated(t, fusetest.Options{Major: 8, Minor: 3}, yes(), nil)
	require.Equal(t, 0, int(out.Major)) // nothing is negotiated
	require.Equal(t, 64, size)
	_, err := k.Getattr(root)
	require.Equal(t, syscall.EIO, err)
	in := wire.InitIn{Major: 7, Minor: 31}
	body, err := k.Raw(wire.OpInit, 0, sys.Bytes(&in), nil)
	require.NoError(t, err)
	require.Len(t, body, 64)
	require.EqualValues(t, 7, k.Session().Conn().Major)
	require.EqualValues(t, 31, k.Session().Conn().Minor)
	_, err = k.Raw(wire.OpInit, 0, sys.Bytes(&in), nil)
	require.Equal(t, syscall.EIO, err) // a second INIT

	k = fusetest.Options{Major: 6, Minor: 3, NoInit: true}.New(t, yes(), &lowlevel.Config{Logger: quiet})
	require.Equal(t, syscall.EPROTO, k.Init())
}

// TestInitFlags2 ignores the upper flags of a kernel that does not say that they count.
func TestInitFlags2(t *testing.T) {
	o := fusetest.Options{Flags: fusetest.OfferedFlags(wire.KernelMinor) &^ wire.InitExt}
	var conn lowlevel.Conn
	k, out, _ := negotiated(t, o, &lowlevel.Operations{Init: func(c *lowlevel.Conn) error { conn = *c; return nil }}, nil)
	require.Zero(t, conn.Capable&(lowlevel.CapPassthrough|lowlevel.CapSecurityCtx|lowlevel.CapAllowIdmap))
	require.Zero(t, out.Flags2)
	require.Zero(t, k.Flags()>>32)
}
