//go:build linux

package lowlevel_test

import (
	"testing"

	"github.com/purefuse/purefuse/fusetest"
)

func TestMain(m *testing.M) { fusetest.Main(m, nil) }
