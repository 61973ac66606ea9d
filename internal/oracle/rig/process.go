//go:build linux

package rig

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sourceDir has the C programs, relative to the packages that test with them.
const sourceDir = "../../testdata/oracle"

// Build compiles a C oracle, the files that the patterns below testdata/oracle match, into dir and returns its path.
func Build(dir string, patterns ...string) (string, error) {
	const need = "the oracle is built from C: install gcc, pkg-config and libfuse3-dev"
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "fuse3").Output()
	if err != nil {
		return "", fmt.Errorf("pkg-config fuse3: %w; %s", err, need)
	}
	var files []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(sourceDir, p))
		if err != nil || len(found) == 0 {
			return "", fmt.Errorf("no C files %s in %s (%v)", p, sourceDir, err)
		}
		files = append(files, found...)
	}
	bin := filepath.Join(dir, "oracle")
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-D_FILE_OFFSET_BITS=64", "-o", bin}, files...)
	if out, err := exec.Command("gcc", append(args, strings.Fields(string(flags))...)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w; %s\n%s", err, need, out)
	}
	return bin, nil
}

// Process is a running C oracle. One sequence at a time.
type Process struct {
	cmd    *exec.Cmd
	conn   *os.File
	r      *bufio.Reader
	stderr bytes.Buffer
}

// Start runs a C oracle.
func Start(bin string) (*Process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil { // for Limit
		return nil, os.NewSyscallError("fcntl", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "oracle")
	defer theirs.Close()
	p := &Process{cmd: exec.Command(bin), conn: os.NewFile(uintptr(fds[0]), "oracle")}
	p.r = bufio.NewReaderSize(p.conn, 1<<18)
	p.cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		p.conn.Close()
		return nil, err
	}
	return p, nil
}

// Stop ends the process, which leaves when its socket does, and reports how it went.
func (p *Process) Stop() error {
	p.conn.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("oracle: %w\n%s", err, p.stderr.Bytes())
	}
	return nil
}

// Frame appends a frame to b.
func Frame(b []byte, kind byte, body []byte) []byte {
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// Send writes frames.
func (p *Process) Send(frames []byte) error {
	_, err := p.conn.Write(frames)
	return err
}

// Limit makes every later Send and Receive fail after d: an oracle that hangs must not hang the test.
func (p *Process) Limit(d time.Duration) error { return p.conn.SetDeadline(time.Now().Add(d)) }

// Receive reads a frame.
func (p *Process) Receive() (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.LittleEndian.Uint32(head[1:]))
	if n == 0 {
		return head[0], nil, nil
	}
	body = slices.Grow([]byte(nil), n)[:n]
	_, err = io.ReadFull(p.r, body)
	return head[0], body, err
}
