//go:build linux

package oracle

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// sources of the C oracle, relative to this package.
const sourceDir = "../../testdata/oracle"

// build compiles the oracle into dir and returns its path.
func build(dir string) (string, error) {
	const need = "the oracle is built from C: install gcc, pkg-config and libfuse3-dev"
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "fuse3").Output()
	if err != nil {
		return "", fmt.Errorf("pkg-config fuse3: %w; %s", err, need)
	}
	files, err := filepath.Glob(filepath.Join(sourceDir, "*.c"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no C files in %s (%v)", sourceDir, err)
	}
	bin := filepath.Join(dir, "oracle")
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-D_FILE_OFFSET_BITS=64", "-o", bin}, files...)
	if out, err := exec.Command("gcc", append(args, strings.Fields(string(flags))...)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w; %s\n%s", err, need, out)
	}
	return bin, nil
}

// process is a running C oracle. One sequence at a time.
type process struct {
	cmd    *exec.Cmd
	conn   *os.File
	r      *bufio.Reader
	stderr bytes.Buffer
}

func start(bin string) (*process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "oracle")
	defer theirs.Close()
	p := &process{cmd: exec.Command(bin), conn: os.NewFile(uintptr(fds[0]), "oracle")}
	p.r = bufio.NewReaderSize(p.conn, 1<<18)
	p.cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		p.conn.Close()
		return nil, err
	}
	return p, nil
}

// stop ends the process, which leaves when its socket does, and reports how it went.
func (p *process) stop() error {
	p.conn.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("oracle: %w\n%s", err, p.stderr.Bytes())
	}
	return nil
}

func frame(b []byte, kind byte, body []byte) []byte {
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// message is a request as the oracle gets it.
type message struct {
	data      []byte
	malformed bool // the script fails it without keeping it
	nothing   bool // the oracle only says that it is done
}

// run sends a whole sequence at once and collects what comes of it.
func (p *process) run(c config, requests []message) (*result, error) {
	var cfg bytes.Buffer
	if err := binary.Write(&cfg, binary.NativeEndian, &c); err != nil {
		return nil, err
	}
	out := frame(nil, 'S', cfg.Bytes())
	for _, m := range requests {
		kind := byte('R')
		switch {
		case m.malformed:
			kind = 'M'
		case m.nothing:
			kind = 'N'
		}
		out = frame(out, kind, m.data)
	}
	out = frame(out, 'E', nil)
	sent := make(chan error, 1)
	go func() {
		_, err := p.conn.Write(out)
		sent <- err
	}()
	res, err := p.collect(len(requests))
	if err != nil {
		// The process is gone or lost: let its stderr say why.
		return nil, errors.Join(err, p.stop(), <-sent)
	}
	return res, <-sent
}

func (p *process) collect(n int) (*result, error) {
	res := &result{Steps: make([]step, 1, n+1)}
	for {
		kind, body, err := p.frame()
		if err != nil {
			return nil, fmt.Errorf("oracle in step %d: %w", len(res.Steps)-1, err)
		}
		s := &res.Steps[len(res.Steps)-1]
		switch kind {
		case 'R':
			s.Replies = append(s.Replies, body)
		case 'L':
			s.Lines = append(s.Lines, string(body))
		case 'D':
			res.Log = append(res.Log, string(body))
		case 'I':
			res.Steps = append(res.Steps, step{})
		case 'X':
			if len(res.Steps) != n+1 {
				return nil, fmt.Errorf("oracle made %d steps of %d requests", len(res.Steps)-1, n)
			}
			return res, nil
		default:
			return nil, fmt.Errorf("oracle sent a frame of type %q", kind)
		}
	}
}

func (p *process) frame() (kind byte, body []byte, err error) {
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
