//go:build linux

package opt_test

import (
	"errors"
	"fmt"

	"github.com/purefuse/purefuse/compat/opt"
)

// A program takes its own options out of the command line and leaves the rest to the library.
func ExampleParse() {
	const keyHelp = 1
	var (
		host  string
		port  = uint16(22)
		quiet bool
	)
	args := opt.NewArgs("netfs", "-p", "2022", "-o", "quiet,ro,allow_other", "example.org", "/mnt")
	err := opt.Parse(args, []opt.Opt{
		opt.Scan("-p %hu", &port),
		opt.Set("quiet", &quiet, true),
		opt.Set("noquiet", &quiet, false),
		opt.Key("--help", keyHelp),
	}, func(arg string, key int, _ *opt.Args) (opt.Action, error) {
		switch {
		case key == keyHelp:
			return opt.Drop, errors.New("usage: netfs [options] HOST MOUNTPOINT")
		case key == opt.KeyNonOpt && host == "":
			host = arg
			return opt.Drop, nil
		}
		return opt.KeepArg, nil
	})
	fmt.Println(host, port, quiet, err)
	fmt.Printf("%q\n", args.Argv)
	// Output:
	// example.org 2022 true <nil>
	// ["netfs" "-o" "ro,allow_other" "/mnt"]
}
