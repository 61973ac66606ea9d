//go:build linux

package highlevel_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/exampletb"
)

// drive serves a file system to a fake kernel, with which f plays.
func drive(ops *highlevel.Operations, f func(k *fusetest.Kernel)) {
	exampletb.Run(func(tb testing.TB) {
		check := func(err error) {
			if err != nil {
				tb.Fatal(err)
			}
		}
		cfg := &highlevel.Config{}
		cfg.Logger = slog.New(slog.DiscardHandler)
		cfg.MaxIdle = -1
		fs, err := highlevel.New(ops, cfg, nil)
		check(err)
		k := fusetest.Options{}.Bare(tb)
		check(fs.Session().Use(k.Transport()))
		served := make(chan error, 1)
		go func() { served <- fs.Serve(context.Background()) }()
		tb.Cleanup(func() {
			check(fs.Close())
			<-served
		})
		check(k.Init())
		f(k)
		k.ForgetAll()
	})
}
