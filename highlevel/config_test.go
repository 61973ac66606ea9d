//go:build linux

package highlevel

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseOption(t *testing.T) {
	for word, want := range map[string]Config{
		"kernel_cache":              {KernelCache: true},
		"auto_cache":                {AutoCache: true},
		"no_rofd_flush":             {NoRofdFlush: true},
		"noforget":                  {Remember: -1},
		"remember=20":               {Remember: 20 * time.Second},
		"remember=-1":               {Remember: -1},
		"umask=022":                 {SetMode: true, Umask: 0o22},
		"fmask=0177":                {SetMode: true, Fmask: 0o177},
		"dmask=7":                   {SetMode: true, Dmask: 7},
		"uid=12abc":                 {SetUID: true, UID: 12},
		"gid=-1":                    {SetGID: true, GID: math.MaxUint32},
		"uid=99999999999":           {SetUID: true, UID: 1215752191},
		"entry_timeout=0":           {EntryTimeout: NoTimeout},
		"entry_timeout=1.5s":        {EntryTimeout: 1500 * time.Millisecond},
		"attr_timeout= 2e1x":        {AttrTimeout: 20 * time.Second},
		"ac_attr_timeout=0x10":      {ACAttrTimeout: 16 * time.Second},
		"negative_timeout=-3":       {NegativeTimeout: NoTimeout},
		"negative_timeout=inf":      {NegativeTimeout: math.MaxInt64},
		"modules=a::b":              {Modules: []string{"a", "b"}},
		"parallel_direct_write=1":   {ParallelDirectWrites: true},
		"parallel_direct_write=000": {},
	} {
		var c Config
		known, err := c.ParseOption(word)
		require.NoError(t, err, word)
		require.True(t, known, word)
		require.Equal(t, want, c, word)
	}
	var c Config
	for _, word := range []string{"debug", "-d", "ro", "fsname=x"} {
		known, err := c.ParseOption(word)
		require.NoError(t, err)
		require.True(t, known)
	}
	require.True(t, c.Debug && c.Mount.ReadOnly)
	require.Equal(t, "x", c.Mount.FSName)
	for _, word := range []string{"uid=", "umask=9", "entry_timeout=x", "remember= "} {
		known, err := c.ParseOption(word)
		require.True(t, known, word)
		require.EqualError(t, err, "fuse: invalid parameter in option `"+word+"'")
	}
	// Options of libfuse 2, and of modules, are unknown.
	for _, word := range []string{"use_ino", "readdir_ino", "direct_io", "hard_remove", "nullpath_ok", "intr", "intr_signal=9", "subdir=/x", "", "uid", "kernel_cache=1"} {
		known, err := c.ParseOption(word)
		require.NoError(t, err)
		require.False(t, known, word)
	}
}

func TestConfigDefaults(t *testing.T) {
	f, err := New(&Operations{}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, time.Second, f.cfg.EntryTimeout)
	require.Equal(t, time.Second, f.cfg.ACAttrTimeout)
	require.Zero(t, f.cfg.NegativeTimeout)
	f, err = New(&Operations{}, &Config{Options: []string{"entry_timeout=0", "attr_timeout=3", "ro"}}, nil)
	require.NoError(t, err)
	require.Zero(t, f.cfg.EntryTimeout)
	require.Equal(t, 3*time.Second, f.cfg.ACAttrTimeout)
	require.True(t, f.cfg.Mount.ReadOnly)
	_, err = New(&Operations{}, &Config{Options: []string{"nonsense", "ro", "x=y"}}, nil)
	require.EqualError(t, err, "fuse: unknown option(s): `-o nonsense,x=y'")
	_, err = New(&Operations{}, &Config{Options: []string{"uid=x"}}, nil)
	require.Error(t, err)
	_, err = New(nil, nil, nil)
	require.Error(t, err)
}

func FuzzParseOption(f *testing.F) {
	for _, w := range []string{"uid=12", "entry_timeout=1.5e3", "modules=a:b", "umask=-7", "attr_timeout=0x1p", "x", "remember=4294967295"} {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, word string) {
		var c, again Config
		known, err := c.ParseOption(word)
		if !known && err == nil {
			require.Equal(t, Config{}, c, "an unknown word changes nothing")
		}
		again.ParseOption(word)
		require.Equal(t, again, c)
		for _, d := range []time.Duration{c.EntryTimeout, c.AttrTimeout, c.ACAttrTimeout, c.NegativeTimeout} {
			require.GreaterOrEqual(t, d, NoTimeout)
		}
	})
}
