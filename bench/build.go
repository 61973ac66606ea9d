//go:build linux

package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

//go:embed c/*.c
var sources embed.FS

// debianExamples is where the package libfuse3-dev puts the examples that become peers.
const debianExamples = "/usr/share/doc/libfuse3-dev/examples"

// Builder compiles client and servers into a directory, each once.
type Builder struct {
	ctx     context.Context
	dir     string // of the binaries
	libfuse string // $LIBFUSE_BUILD or ""
	done    map[string]error
}

func newBuilder(ctx context.Context, dir, libfuse string) *Builder {
	return &Builder{ctx: ctx, dir: dir, libfuse: libfuse, done: map[string]error{}}
}

func (b *Builder) once(name string, make func(out string) error) (string, error) {
	out := filepath.Join(b.dir, name)
	err, ok := b.done[name]
	if !ok {
		err = make(out)
		b.done[name] = err
	}
	return out, err
}

func (b *Builder) command(dir, name string, args ...string) error {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		text := strings.TrimSpace(string(out))
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

// C compiles one of our own sources, plain.
func (b *Builder) C(name, source string, flags ...string) (string, error) {
	return b.once(name, func(out string) error {
		src, err := b.extract(source)
		if err != nil {
			return err
		}
		return b.command(b.dir, "gcc", append([]string{"-O2", "-Wall", "-o", out, src, "-pthread"}, flags...)...)
	})
}

func (b *Builder) extract(source string) (string, error) {
	text, err := sources.ReadFile("c/" + source)
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, source)
	return file, os.WriteFile(file, text, 0o600)
}

// Debian compiles a source against the distribution's libfuse: ours by its bare name, an example of the package by its path.
func (b *Builder) Debian(name, source string, defines ...string) (string, error) {
	return b.once(name, func(out string) error {
		flags, err := exec.CommandContext(b.ctx, "pkg-config", "--cflags", "--libs", "fuse3").Output()
		if err != nil {
			return fmt.Errorf("pkg-config fuse3 (apt install libfuse3-dev): %w", err)
		}
		if !filepath.IsAbs(source) {
			if source, err = b.extract(source); err != nil {
				return err
			}
		}
		args := slices.Concat([]string{"-O2", "-w"}, defines, []string{"-o", out, source, "-pthread"}, strings.Fields(string(flags)))
		return b.command(b.dir, "gcc", args...)
	})
}

// New compiles one of our sources against the libfuse of LIBFUSE_BUILD.
func (b *Builder) New(name, source string) (string, error) {
	return b.once(name, func(out string) error {
		if err := b.needNew(); err != nil {
			return err
		}
		src, err := b.extract(source)
		if err != nil {
			return err
		}
		lib := filepath.Join(b.libfuse, "lib")
		return b.command(b.dir, "gcc", "-O2", "-Wall", "-o", out, src, "-pthread",
			"-I"+filepath.Join(filepath.Dir(b.libfuse), "include"), "-I"+b.libfuse,
			"-L"+lib, "-lfuse3", "-Wl,-rpath,"+lib)
	})
}

// Example finds a program that the build of LIBFUSE_BUILD left behind.
func (b *Builder) Example(name string) (string, error) {
	if err := b.needNew(); err != nil {
		return "", err
	}
	path := filepath.Join(b.libfuse, "example", name)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return path, nil
}

func (b *Builder) needNew() error {
	if b.libfuse == "" {
		return fmt.Errorf("LIBFUSE_BUILD is not set")
	}
	return nil
}

// Go builds a command of this module.
func (b *Builder) Go(name, pkg string) (string, error) {
	return b.once(name, func(out string) error { return b.command("", "go", "build", "-o", out, pkg) })
}

// Parent builds a command of the module above: one of purefuse's examples.
func (b *Builder) Parent(name, pkg string) (string, error) {
	return b.once(name, func(out string) error { return b.command("..", "go", "build", "-o", out, pkg) })
}

// uringReady says why FUSE over io_uring cannot be measured here.
func uringReady() error {
	v, err := os.ReadFile("/sys/module/fuse/parameters/enable_uring")
	if err != nil {
		return fmt.Errorf("this kernel has no FUSE over io_uring")
	}
	if strings.TrimSpace(string(v)) != "Y" {
		return fmt.Errorf("/sys/module/fuse/parameters/enable_uring is N")
	}
	return nil
}
