//go:build linux

// Package cmdline is the command line and the life of a low-level example: the options that libfuse's fuse_parse_cmdline and
// fuse_session_new know, with their messages, and a main function around lowlevel.Session.
package cmdline

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/session"
)

// Options is what a command line says.
type Options struct {
	Mountpoint      string // absolute and without symlinks, or /dev/fd/N; "" if there was none
	ShowHelp        bool   // -h
	ShowVersion     bool   // -V
	Debug           bool   // -d, -o debug, --debug
	Foreground      bool   // -f, -d, -o debug
	SingleThread    bool   // -s
	CloneFD         bool
	MaxThreads      uint32 // 0: not given
	MaxIdleThreads  uint32 // ^0, as in libfuse: not given
	URing           bool
	URingQueueDepth uint32 // 0: not given
	Mount           session.MountOptions

	inList, alone []string // unknown options: elements of -o lists, and words of their own
	ownName       bool     // fsname or subtype was given
}

// Option is offered each option before anything else sees it: a word that begins with a dash, or one element of a -o list.
// It says whether the word is its own; an error ends the parsing.
type Option func(word string) (taken bool, err error)

// Parse reads a command line. Options that nobody knows are no error here: Unknown tells of them when help and version are
// out of the way, as in libfuse.
func Parse(args []string, own Option) (*Options, error) {
	o := &Options{MaxIdleThreads: ^uint32(0)}
	for i, ended := 1, false; i < len(args); i++ {
		a := args[i]
		var err error
		switch {
		case ended || !strings.HasPrefix(a, "-"):
			err = o.operand(a)
		case a == "--":
			ended = true
		case a == "-o":
			if i++; i == len(args) {
				return nil, errors.New("fuse: missing argument after `-o'")
			}
			err = o.list(args[i], own)
		case strings.HasPrefix(a, "-o"):
			err = o.list(a[2:], own)
		default:
			err = o.option(a, own, &o.alone)
		}
		if err != nil {
			return nil, err
		}
	}
	if !o.ownName {
		o.Mount.Subtype = programName(args[0])
	}
	return o, nil
}

// programName is the name under which libfuse mounts: what follows the last slash, with it if nothing does.
func programName(arg0 string) string {
	if i := strings.LastIndexByte(arg0, '/'); i >= 0 && i+1 < len(arg0) {
		return arg0[i+1:]
	} else if i >= 0 {
		return arg0[i:]
	}
	return arg0
}

// operand takes a word that is no option.
func (o *Options) operand(word string) error {
	if o.Mountpoint != "" {
		return fmt.Errorf("fuse: invalid argument `%s'", word)
	}
	if isDescriptor(word) {
		o.Mountpoint = word
		return nil
	}
	path, err := filepath.Abs(word)
	if err == nil && word == "" {
		err = syscall.ENOENT
	}
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return fmt.Errorf("fuse: bad mount point `%s': %s", word, Strerror(err))
	}
	o.Mountpoint = path
	return nil
}

// isDescriptor reports whether path is /dev/fd/N, an open descriptor of a mount that somebody else made.
func isDescriptor(path string) bool {
	n, ok := strings.CutPrefix(path, "/dev/fd/")
	if !ok {
		return false
	}
	_, err := strconv.ParseUint(n, 10, 31)
	return err == nil
}

// Strerror is an error's errno in the C library's words.
func Strerror(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		text = e.Error()
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// list takes the argument of -o apart: commas separate, a backslash takes the next character or three octal digits literally.
func (o *Options) list(s string, own Option) error {
	var word []byte
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == ',':
			if err := o.option(string(word), own, &o.inList); err != nil {
				return err
			}
			word = word[:0]
		case s[i] == '\\' && i+1 < len(s):
			i++
			if n, err := strconv.ParseUint(s[i:min(i+3, len(s))], 8, 8); err == nil && i+3 <= len(s) {
				word = append(word, byte(n))
				i += 2
			} else {
				word = append(word, s[i])
			}
		default:
			word = append(word, s[i])
		}
	}
	return nil
}

// option takes one option; unknown is where it goes if nobody knows it.
func (o *Options) option(word string, own Option, unknown *[]string) error {
	if own != nil {
		if taken, err := own(word); taken || err != nil {
			return err
		}
	}
	key, value, _ := strings.Cut(word, "=")
	switch word {
	case "-h", "--help":
		o.ShowHelp = true
		return nil
	case "-V", "--version":
		o.ShowVersion = true
		return nil
	case "-d", "debug":
		o.Debug, o.Foreground = true, true
		return nil
	case "--debug":
		o.Debug = true
		return nil
	case "-f":
		o.Foreground = true
		return nil
	case "-s":
		o.SingleThread = true
		return nil
	case "clone_fd":
		o.CloneFD = true
		return nil
	case "io_uring":
		o.URing = true
		return nil
	}
	number := map[string]*uint32{
		"max_threads": &o.MaxThreads, "max_idle_threads": &o.MaxIdleThreads, "io_uring_q_depth": &o.URingQueueDepth,
	}[key]
	if number != nil && key != word {
		n, ok := ScanUint(value)
		if !ok {
			return BadParameter(word)
		}
		*number = n
		return nil
	}
	known, err := o.Mount.ParseOption(word)
	if err != nil {
		return err
	}
	if !known {
		*unknown = append(*unknown, word)
	}
	o.ownName = o.ownName || known && (key == "fsname" || key == "subtype")
	return nil
}

// BadParameter is the error of an option whose value is not what it should be.
func BadParameter(word string) error {
	return fmt.Errorf("fuse: invalid parameter in option `%s'", word)
}

// ScanUint reads a number as libfuse does for "%u": blanks before and anything behind it are passed over, a sign and an
// overflow wrap around.
func ScanUint(s string) (uint32, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n == 0 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:n], 10, 64) // the largest number if it does not fit
	if negative && err == nil {
		v = -v
	}
	return uint32(v), true
}

// Unknown is the error for options that nobody knew, nil if there are none.
func (o *Options) Unknown() error {
	var words []string
	if len(o.inList) > 0 {
		escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
		list := make([]string, len(o.inList))
		for i, w := range o.inList {
			list[i] = escape.Replace(w)
		}
		words = append(words, "-o", strings.Join(list, ","))
	}
	words = append(words, o.alone...)
	if len(words) == 0 {
		return nil
	}
	return fmt.Errorf("fuse: unknown option(s): `%s'", strings.Join(words, " "))
}
