//go:build linux

package rig

import (
	"os"
	"slices"
	"strings"
)

// Thin leaves elements out of a list, many at once at first, wherever try says that what is left will do. It returns what is
// left in the end.
func Thin[T any](list []T, try func([]T) bool) []T {
	for n := max(1, len(list)/2); n > 0; n /= 2 {
		for i := 0; i+n <= len(list); {
			if less := slices.Delete(slices.Clone(list), i, i+n); try(less) {
				list = less
				continue
			}
			i++
		}
	}
	return list
}

// Listed are the names of the rules that docs/differences.md lists in rows that begin with prefix, sorted.
func Listed(prefix string) ([]string, error) {
	b, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		return nil, err
	}
	var names []string
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, "| `"+prefix+":"); ok {
			name, _, _ := strings.Cut(rest, "`")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
