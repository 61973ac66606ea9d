//go:build linux

package fusetest_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
)

// hello is a file system with one file.
var hello = lowlevel.Operations{
	Lookup: func(r lowlevel.EntryReq, parent lowlevel.NodeID, name lowlevel.Name) {
		if parent != lowlevel.RootID || name.String() != "hello" {
			r.ReplyErr(syscall.ENOENT)
			return
		}
		r.ReplyEntry(&lowlevel.Entry{NodeID: 2, Attr: lowlevel.Stat{Ino: 2, Mode: syscall.S_IFREG | 0o444, Size: 13}})
	},
	Read: func(r lowlevel.DataReq, _ lowlevel.NodeID, size int, off int64, _ *lowlevel.FileInfo) {
		data := []byte("Hello World!\n")
		data = data[min(off, int64(len(data))):]
		r.ReplyBuf(data[:min(size, len(data))])
	},
}

// A test of a file system without a mount.
func ExampleKernel() {
	test := func(t testing.TB) {
		k := fusetest.New(t, &hello, nil)
		e, err := k.Lookup(lowlevel.RootID, "hello")
		if err != nil {
			t.Fatal(err)
		}
		f, err := k.Open(e.NodeID, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		data, err := f.Read(0, 4096)
		fmt.Printf("%q %v\n", data, err)
		_, err = k.Lookup(lowlevel.RootID, "nothing")
		fmt.Println(err)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		k.ForgetAll()
		fmt.Println(k.Lookups(e.NodeID))
	}
	run(test) // in a real test: the *testing.T

	// Output:
	// "Hello World!\n" <nil>
	// no such file or directory
	// 0
}
