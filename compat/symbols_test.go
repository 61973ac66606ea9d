//go:build linux

package compat

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/purefuse/purefuse/"

// pending are the packages that symbols may wait for, and the parts of libfuse that are left out as a whole.
var pending = []string{"not yet: package service", "not planned: CUSE"}

// symbol is a row of symbols.tsv.
type symbol struct {
	name, kind string
	goNames    []string // "-" in the file: none
	note       string
}

func symbols(t *testing.T) []symbol {
	table, err := os.ReadFile("symbols.tsv")
	require.NoError(t, err)
	var all []symbol
	for line := range strings.Lines(string(table)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		require.True(t, len(f) == 3 || len(f) == 4, line)
		s := symbol{name: f[0], kind: f[1]}
		if f[2] != "-" {
			s.goNames = strings.Fields(f[2])
			require.NotEmpty(t, s.goNames, line)
		}
		if len(f) == 4 {
			s.note = f[3]
		}
		all = append(all, s)
	}
	return all
}

// Every symbol of libfuse has a row, and only one.
func TestSymbolsAreComplete(t *testing.T) {
	text, err := os.ReadFile("testdata/libfuse-3.19.txt")
	require.NoError(t, err)
	var want, got []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			want = append(want, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, s := range symbols(t) {
		got = append(got, s.name)
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Greater(t, len(want), 600)
	require.Equal(t, want, got)
}

// Every row has Go names that exist, or says why there are none.
func TestSymbolsResolve(t *testing.T) {
	load := packages(t)
	var wrong []string
	for _, s := range symbols(t) {
		if len(s.goNames) == 0 && s.note == "" {
			wrong = append(wrong, s.name+": neither a Go name nor a reason")
		}
		if strings.HasPrefix(s.note, "not ") && !slices.Contains(pending, s.note) && !strings.HasPrefix(s.note, "not exported") {
			wrong = append(wrong, s.name+": unknown reason: "+s.note)
		}
		for _, name := range s.goNames {
			if err := lookup(load, name); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %s: %v", s.name, name, err))
			}
		}
	}
	require.Empty(t, wrong, strings.Join(wrong, "\n"))

	for _, name := range []string{"nowhere.New", "lowlevel.Nothing", "lowlevel.Config.Nothing", "lowlevel.New.Nothing", "lowlevel",
		"lowlevel.Session.phase", "compat/opt.parser", "compat/opt.Args.Argv.X"} {
		require.Error(t, lookup(load, name), name)
	}
}

// packages is a function that loads packages of the module by their path in it, from what the go command has compiled.
func packages(t *testing.T) func(path string) (*types.Package, error) {
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./...")
	list.Dir = ".."
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.Output()
	require.NoError(t, err, "needs the go command")
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, os.ErrNotExist
		}
		return os.Open(files[path])
	})
	return func(path string) (*types.Package, error) { return imports.Import(module + path) }
}

// lookup looks up "package.Name", "package.Type.FieldOrMethod" and so on; the package is a path in the module.
func lookup(load func(string) (*types.Package, error), name string) error {
	dir := name[:strings.LastIndexByte(name, '/')+1]
	f := strings.Split(name[len(dir):], ".")
	if len(f) < 2 {
		return fmt.Errorf("no name in a package")
	}
	pkg, err := load(dir + f[0])
	if err != nil {
		return err
	}
	obj := pkg.Scope().Lookup(f[1])
	for _, member := range f[2:] {
		if obj == nil {
			break
		}
		obj, _, _ = types.LookupFieldOrMethod(obj.Type(), true, pkg, member)
	}
	if obj == nil || !obj.Exported() {
		return fmt.Errorf("there is no such exported name")
	}
	return nil
}
