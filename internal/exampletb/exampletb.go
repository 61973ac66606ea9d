//go:build linux

// Package exampletb lends a testing.TB to Example functions, which get none.
package exampletb

import (
	"fmt"
	"io"
	"testing"
)

// Run calls f with a TB whose failures are panics, and then what it has for clean-up.
func Run(f func(tb testing.TB)) {
	tb := new(exampleTB)
	defer func() {
		for i := len(tb.cleanups) - 1; i >= 0; i-- {
			tb.cleanups[i]()
		}
	}()
	f(tb)
}

type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                           {}
func (e *exampleTB) Cleanup(f func())                  { e.cleanups = append(e.cleanups, f) }
func (e *exampleTB) Output() io.Writer                 { return io.Discard }
func (e *exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
