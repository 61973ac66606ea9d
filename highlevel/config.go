//go:build linux

package highlevel

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
)

// InterruptMode says what a signal to the caller does to a request's Context.
type InterruptMode int

const (
	InterruptGrace  InterruptMode = iota // it ends if the request is still pending after Config.Grace: callers written in Go get signals all the time
	InterruptCancel                      // it ends at once, libfuse's intr
	InterruptOff                         // the kernel is told to send none, libfuse's default
)

// NoTimeout, or anything below 0, is a timeout of 0 where 0 stands for a default.
const NoTimeout time.Duration = -1

// Config is libfuse's struct fuse_config. The zero value is usable. What Operations.Init changes counts from then on, but for
// Remember, Modules, Options and all of lowlevel.Config.
type Config struct {
	lowlevel.Config               // Interrupts is overruled by the one below
	Interrupts      InterruptMode // in Init, only InterruptOff has an effect

	SetMode, SetUID, SetGID bool   // Umask, UID, GID count
	Umask, Fmask, Dmask     uint32 // permissions are 0777 without Dmask for directories, without Fmask, or without Umask: the first that is not 0
	UID, GID                uint32

	// New takes 0 for the defaults, which are 1 s, 1 s, 0 and AttrTimeout, and NoTimeout for 0. Init sees real values, 0 being 0.
	EntryTimeout    time.Duration // how long the kernel believes a name
	AttrTimeout     time.Duration // how long it believes attributes
	NegativeTimeout time.Duration // how long it believes that there is no such name
	ACAttrTimeout   time.Duration // with AutoCache: how long attributes are believed at open

	// Remember is how long nodes are kept that the kernel has forgotten; below 0: for ever, libfuse's noforget.
	Remember time.Duration

	UseIno               bool // inode numbers are those of the file system
	ReaddirIno           bool // without UseIno: listings have the node ids of names that are known
	HardRemove           bool // remove open files, too, instead of hiding them; with NullPathOK, Getattr and its kind then get a handle
	NullPathOK           bool // no paths for operations on open files
	DirectIO             bool // every open is FileInfo.DirectIO
	KernelCache          bool // every open is FileInfo.KeepCache
	AutoCache            bool // an open is FileInfo.KeepCache unless size or time of modification have changed
	NoRofdFlush          bool // files that are open for reading only get no Flush
	ParallelDirectWrites bool // with DirectIO

	// Modules are put on top of the file system from left to right: subdir, iconv, and those of Factories.
	Modules   []string
	Factories map[string]ModuleFactory
	// Options are further -o words, not escaped: those of the modules, and all that ParseOption knows.
	Options []string
}

// ParseOption takes one -o word, not escaped and without the commas around it, as libfuse's fuse_new does: the words of
// this package, and then those of the mount. known is false for other words, such as those of modules, which belong into
// Options. Numbers are read as scanf reads them: what follows them is ignored.
func (c *Config) ParseOption(word string) (known bool, err error) {
	if known, err := c.parseOwn(word); known {
		return true, err
	}
	return c.Mount.ParseOption(word)
}

func (c *Config) parseOwn(word string) (known bool, err error) {
	key, value, hasValue := strings.Cut(word, "=")
	if !hasValue {
		switch word {
		case "debug", "-d":
			c.Debug = true
		case "kernel_cache":
			c.KernelCache = true
		case "auto_cache":
			c.AutoCache = true
		case "noauto_cache":
			c.AutoCache = false
		case "no_rofd_flush":
			c.NoRofdFlush = true
		case "noforget":
			c.Remember = -1
		default:
			return false, nil
		}
		return true, nil
	}
	ok := true
	var n uint32
	switch key {
	case "umask":
		c.SetMode = true
		c.Umask, ok = scanUint(value, 8)
	case "fmask":
		c.SetMode = true
		c.Fmask, ok = scanUint(value, 8)
	case "dmask":
		c.SetMode = true
		c.Dmask, ok = scanUint(value, 8)
	case "uid":
		c.SetUID = true
		c.UID, ok = scanUint(value, 10)
	case "gid":
		c.SetGID = true
		c.GID, ok = scanUint(value, 10)
	case "entry_timeout":
		c.EntryTimeout, ok = scanTimeout(value)
	case "attr_timeout":
		c.AttrTimeout, ok = scanTimeout(value)
	case "ac_attr_timeout":
		c.ACAttrTimeout, ok = scanTimeout(value)
	case "negative_timeout":
		c.NegativeTimeout, ok = scanTimeout(value)
	case "remember":
		if n, ok = scanUint(value, 10); n > math.MaxInt32 { // an int to libfuse, and negative
			c.Remember = -1
		} else {
			c.Remember = time.Duration(n) * time.Second
		}
	case "modules":
		c.Modules = nil
		for m := range strings.SplitSeq(value, ":") {
			if m != "" {
				c.Modules = append(c.Modules, m)
			}
		}
	case "parallel_direct_write":
		n, ok = scanUint(value, 10)
		c.ParallelDirectWrites = n != 0
	default:
		return false, nil
	}
	if !ok {
		return true, fmt.Errorf("fuse: invalid parameter in option `%s'", word)
	}
	return true, nil
}

// settle makes the values of a Config that was given to New real ones.
func (c *Config) settle() {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
		*d = max(*d, 0)
	}
	or(&c.EntryTimeout, time.Second)
	or(&c.AttrTimeout, time.Second)
	or(&c.ACAttrTimeout, c.AttrTimeout)
	or(&c.NegativeTimeout, 0)
	switch c.Interrupts {
	case InterruptCancel:
		c.Config.Interrupts = lowlevel.InterruptCancel
	case InterruptOff:
		c.Config.Interrupts = lowlevel.InterruptOff
	default:
		c.Config.Interrupts = lowlevel.InterruptGrace
	}
}

// rewrite makes st what the options say, for a node id.
func (c *Config) rewrite(id NodeID, st *Stat) {
	if !c.UseIno {
		st.Ino = uint64(id)
	}
	if c.SetMode {
		st.Mode = c.mode(st.Mode)
	}
	if c.SetUID {
		st.UID = c.UID
	}
	if c.SetGID {
		st.GID = c.GID
	}
}

func (c *Config) mode(mode uint32) uint32 {
	mask := c.Umask
	switch {
	case mode&modeType == modeDir && c.Dmask != 0:
		mask = c.Dmask
	case mode&modeType != modeDir && c.Fmask != 0:
		mask = c.Fmask
	}
	return mode&modeType | 0o777&^mask
}
