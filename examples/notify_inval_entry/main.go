//go:build linux

// Notify_inval_entry is a file system with one empty file whose name is the time. The kernel may believe a name for some
// seconds, and is told each time the file gets another one.
//
//	notify_inval_entry [--timeout=<secs>] [--update-interval=<secs>] [--no-notify] [--only-expire | --inc-epoch] [options] <mountpoint>
//
// With --no-notify an old name exists until the timeout for those who have used it. --only-expire ends the time for which the
// kernel believes the old name instead of making it forget that, --inc-epoch does so for all names there are.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/purefuse/purefuse/examples/internal/onefile"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/notify"
)

const help = `File-system specific options:
    --timeout=<secs>       Timeout for kernel caches
    --update-interval=<secs>  Update-rate of file system contents
    --no-notify            Disable kernel notifications
    --only-expire          Expire entries instead of invalidating them
    --inc-epoch            Increment epoch, invalidating all dentries

`

func main() {
	var (
		seconds              = float32(5)
		onlyExpire, incEpoch bool
	)
	f := &onefile.File{Timeout: func() time.Duration { return time.Duration(float64(seconds) * float64(time.Second)) }}
	set := func() (old string) { return f.Set(time.Now().Format("Time_is_15h_04m_05s"), "") }
	set()
	options := []opt.Opt{
		opt.Scan("--timeout=%f", &seconds),
		opt.Set("--only-expire", &onlyExpire, true),
		opt.Set("--inc-epoch", &incEpoch, true),
	}
	check := func() {
		if onlyExpire && incEpoch {
			fmt.Println("'only-expire' and 'inc-epoch' options are exclusive")
			os.Exit(0)
		}
	}
	os.Exit(f.Program(help, options, check, func(s *ll.Session, tell bool) bool {
		old := set()
		if !tell {
			return true
		}
		n := s.Notify()
		what, err := "", error(nil)
		switch {
		case onlyExpire:
			what, err = "fuse_lowlevel_notify_expire_entry", n.ExpireEntry(ll.RootID, old)
		case incEpoch:
			what, err = "fuse_lowlevel_notify_increment_epoch", n.IncEpoch()
		default:
			what, err = "fuse_lowlevel_notify_inval_entry", n.InvalEntry(ll.RootID, old)
		}
		if _, ok := errors.AsType[*notify.NotSupportedError](err); ok {
			fmt.Printf("%s not supported by kernel\nExiting...\n", what)
			s.Exit()
			return false
		}
		if err != nil && !onefile.Gone(err) {
			onefile.Fail(what, err)
		}
		return true
	}))
}
