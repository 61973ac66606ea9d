//go:build linux

package highlevel

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// iconv is the module that converts file names: from_code is the encoding of the layer below, UTF-8 if not given, to_code
// what the mount shows, the locale's if not given.
type iconv struct {
	below, shown charset
	next         *Filesystem
}

func newIconv(options *[]string, next *Filesystem) (*Operations, error) {
	from, to := "UTF-8", LocaleCharset()
	takeOptions(options, func(w string) bool {
		if v, ok := strings.CutPrefix(w, "from_code="); ok {
			from = v
		} else if v, ok := strings.CutPrefix(w, "to_code="); ok {
			to = v
		} else {
			return false
		}
		return true
	})
	below, ok1 := charsetOf(from)
	shown, ok2 := charsetOf(to)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("fuse-iconv: cannot convert from %s to %s", from, to)
	}
	m := &iconv{below, shown, next}
	o := mapped(next, m.in)
	o.Symlink = func(c *Context, target, path string) error {
		target, err := m.in(target)
		if err != nil {
			return err
		}
		if path, err = m.in(path); err != nil {
			return err
		}
		return next.Symlink(c, target, path)
	}
	o.Readlink = func(c *Context, path string) (string, error) {
		path, err := m.in(path)
		if err != nil {
			return "", err
		}
		target, err := next.Readlink(c, path)
		if err != nil {
			return "", err
		}
		return m.out(target)
	}
	o.Readdir = func(c *Context, path string, fill Filler, off uint64, fi *FileInfo, plus bool) error {
		path, err := m.in(path)
		if err != nil {
			return err
		}
		return next.Readdir(c, path, iconvFiller{m, fill}, off, fi, plus)
	}
	return o, nil
}

// in converts for the layer below, out what comes from it.
func (m *iconv) in(s string) (string, error) { return convert(s, m.shown, m.below) }

func (m *iconv) out(s string) (string, error) { return convert(s, m.below, m.shown) }

// iconvFiller leaves out the names that cannot be converted.
type iconvFiller struct {
	m    *iconv
	next Filler
}

func (f iconvFiller) Add(name string, st *Stat, off uint64) bool {
	name, err := f.m.out(name)
	return err != nil || f.next.Add(name, st, off)
}

func (f iconvFiller) AddPlus(name string, st *Stat, off uint64) bool {
	name, err := f.m.out(name)
	return err != nil || f.next.AddPlus(name, st, off)
}

// charset is an encoding of text; nil is UTF-8.
type charset struct {
	enc   encoding.Encoding
	ascii bool // nothing but ASCII
}

func charsetOf(name string) (charset, bool) {
	switch strings.ToUpper(name) {
	case "UTF-8", "UTF8":
		return charset{}, true
	case "ANSI_X3.4-1968", "US-ASCII", "ASCII":
		return charset{ascii: true}, true
	}
	if enc, err := ianaindex.IANA.Encoding(name); err == nil && enc != nil {
		return charset{enc: enc}, true
	}
	if enc, err := htmlindex.Get(name); err == nil {
		return charset{enc: enc}, true
	}
	return charset{}, false
}

// LocaleCharset is the encoding that the environment asks for, to_code of the module iconv where it is not given.
func LocaleCharset() string {
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(key); v != "" {
			_, code, _ := strings.Cut(v, ".")
			if code, _, _ = strings.Cut(code, "@"); code != "" {
				return code
			}
			break
		}
	}
	return "ANSI_X3.4-1968" // the C locale
}

// convert fails with EILSEQ if s is no text in its encoding, or has something that the other encoding lacks, or would become
// something that no name can have.
func convert(s string, from, to charset) (string, error) {
	text, ok := from.decode(s)
	if !ok {
		return "", syscall.EILSEQ
	}
	out, ok := to.encode(text)
	if !ok || strings.IndexByte(out, 0) >= 0 || strings.Count(out, "/") != strings.Count(s, "/") {
		return "", syscall.EILSEQ
	}
	return out, nil
}

func (c charset) decode(s string) (string, bool) {
	if c.enc == nil {
		return s, utf8.ValidString(s) && (!c.ascii || isASCII(s))
	}
	text, err := c.enc.NewDecoder().String(s)
	if err != nil {
		return "", false
	}
	if strings.ContainsRune(text, utf8.RuneError) { // in place of what cannot be read, unless it was there
		back, err := c.enc.NewEncoder().String(text)
		return text, err == nil && back == s
	}
	return text, true
}

func (c charset) encode(text string) (string, bool) {
	if c.enc == nil {
		return text, !c.ascii || isASCII(text)
	}
	out, err := c.enc.NewEncoder().String(text)
	return out, err == nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
