//go:build linux

package lowlevel_test

import (
	"testing"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/exampletb"
	"github.com/purefuse/purefuse/lowlevel"
)

// drive serves a file system to a fake kernel, with which f plays.
func drive(ops *lowlevel.Operations, f func(k *fusetest.Kernel)) {
	exampletb.Run(func(tb testing.TB) {
		k := fusetest.New(tb, ops, nil)
		f(k)
		k.ForgetAll()
	})
}
