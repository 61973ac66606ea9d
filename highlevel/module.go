//go:build linux

package highlevel

import (
	"fmt"
	"slices"
)

// ModuleFactory makes a layer that lies on next, libfuse's fuse_module_factory_t: it takes its options out of options, which
// are -o words without commas and escapes, and returns its operations. They call next's methods, also next.Init and
// next.Destroy from their own Init and Destroy.
type ModuleFactory func(options *[]string, next *Filesystem) (*Operations, error)

// builtin are the modules that every file system can use.
func builtin(name string) ModuleFactory {
	switch name {
	case "subdir":
		return newSubdir
	case "iconv":
		return newIconv
	}
	return nil
}

// push puts the modules on top of the file system, which take their words out of options.
func (f *FS) push(options *[]string) error {
	for _, name := range f.cfg.Modules {
		factory := f.cfg.Factories[name]
		if factory == nil {
			factory = builtin(name)
		}
		if factory == nil {
			return fmt.Errorf("fuse: there is no module `%s'", name)
		}
		ops, err := factory(options, f.top)
		if err != nil {
			return err
		}
		if ops == nil {
			return fmt.Errorf("fuse: module `%s' failed", name)
		}
		f.top = NewFilesystem(ops, nil)
		f.top.fs = f
	}
	return nil
}

// takeOptions removes the words that take accepts from options.
func takeOptions(options *[]string, take func(word string) bool) {
	*options = slices.DeleteFunc(slices.Clone(*options), take)
}
