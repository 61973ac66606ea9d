//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the numbers were measured on and with.
type Machine struct {
	CPU, Kernel, Virtual, Go, GCC string
	CPUs                          int
	MemoryGiB                     float64
	Libfuse, NewLibfuse, GoFuse   string
	Commit                        string
}

func machine(libfuseBuild string) Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), GoFuse: "unknown"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		m.MemoryGiB = float64(uint64(si.Totalram)*uint64(si.Unit)) / (1 << 30)
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		key, val, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			m.CPU = strings.TrimSpace(val)
		case "flags":
			if strings.Contains(" "+val+" ", " hypervisor ") {
				m.Virtual = ", virtual machine"
			}
		}
	}
	m.GCC = firstLine(output("gcc", "-dumpfullversion"))
	m.Libfuse = firstLine(output("pkg-config", "--modversion", "fuse3"))
	if libfuseBuild != "" {
		if found, _ := filepath.Glob(filepath.Join(libfuseBuild, "lib", "libfuse3.so.*.*")); len(found) > 0 {
			for _, f := range found {
				if v, ok := strings.CutPrefix(filepath.Base(f), "libfuse3.so."); ok && !strings.HasSuffix(v, ".p") {
					m.NewLibfuse = v
				}
			}
		}
	}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, d := range bi.Deps {
			if d.Path == "github.com/hanwen/go-fuse/v2" {
				m.GoFuse = d.Version
			}
		}
	}
	if m.GoFuse == "unknown" {
		m.GoFuse = firstLine(output("go", "list", "-m", "-f", "{{.Version}}", "github.com/hanwen/go-fuse/v2"))
	}
	m.Commit = firstLine(output("git", "rev-parse", "--short=12", "HEAD"))
	if firstLine(output("git", "status", "--porcelain")) != "" {
		m.Commit += " with changes"
	}
	return m
}

func output(name string, args ...string) string {
	b, _ := exec.Command(name, args...).Output()
	return string(b)
}

func loadavg() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

func (m Machine) String() string {
	s := fmt.Sprintf("%d CPUs %s%s, %.0f GiB; Linux %s; %s, gcc %s; C libfuse %s", m.CPUs, m.CPU, m.Virtual, m.MemoryGiB, m.Kernel, m.Go, m.GCC, m.Libfuse)
	if m.NewLibfuse != "" {
		s += ", new libfuse " + m.NewLibfuse
	}
	return s + ", go-fuse " + m.GoFuse + "; purefuse " + m.Commit
}
