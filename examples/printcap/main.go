//go:build linux

// Printcap prints the protocol version and the capabilities that the kernel and the library have in common.
//
//	printcap [-o option,...]
//
// It mounts an empty directory of its own for that, and is done as soon as the kernel has said what it can: it shows
// a session that ends itself.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	ll "github.com/purefuse/purefuse/lowlevel"
)

func main() {
	var c ll.Config
	err := compat.LowlevelConfig(opt.NewArgs(os.Args...), &c)
	if err == nil {
		err = printCapabilities(&c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func printCapabilities(c *ll.Config) error {
	dir, err := os.MkdirTemp("", "fuse_printcap_")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	fmt.Printf("FUSE library version %s\n", compat.PackageVersion)
	compat.LowlevelVersion(os.Stdout)

	var s *ll.Session
	s, err = ll.New(&ll.Operations{
		Init: func(c *ll.Conn) error {
			fmt.Printf("Protocol version: %d.%d\n", c.Major, c.Minor)
			fmt.Println("Capabilities:")
			for _, name := range c.Capable.Names() {
				fmt.Printf("\t%s\n", name)
			}
			s.Exit() // Serve is to return when this request is answered
			return nil
		},
	}, c)
	if err != nil {
		return err
	}
	defer s.Close() // unmounts, too
	s.HandleSignals()
	ctx := context.Background()
	if err := s.Mount(ctx, dir); err != nil {
		return err
	}
	return s.Serve(ctx)
}
