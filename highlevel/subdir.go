//go:build linux

package highlevel

import (
	"errors"
	"strings"
)

// subdir is the module that shows a directory of the layer below as the root: subdir=DIR, and rellinks, which makes absolute
// symlinks into that directory relative.
type subdir struct {
	base     string // ends in a slash unless empty
	relative bool
	next     *Filesystem
}

func newSubdir(options *[]string, next *Filesystem) (*Operations, error) {
	m := &subdir{next: next}
	given := false
	takeOptions(options, func(w string) bool {
		dir, ok := strings.CutPrefix(w, "subdir=")
		switch {
		case ok:
			m.base, given = dir, true
		case w == "rellinks":
			m.relative = true
		case w == "norellinks":
			m.relative = false
		default:
			return false
		}
		return true
	})
	if !given {
		return nil, errors.New("fuse-subdir: missing 'subdir' option")
	}
	if m.base != "" && !strings.HasSuffix(m.base, "/") {
		m.base += "/"
	}
	o := mapped(next, m.path)
	o.Readlink = m.readlink
	return o, nil
}

// path is a path in the layer below.
func (m *subdir) path(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	p := m.base + strings.TrimPrefix(path, "/")
	if p == "" {
		p = "."
	}
	return p, nil
}

func (m *subdir) readlink(c *Context, path string) (string, error) {
	p, _ := m.path(path)
	target, err := m.next.Readlink(c, p)
	if err == nil && m.relative && strings.HasPrefix(target, "/") && strings.HasPrefix(m.base, "/") {
		target = relativeLink(m.base, p, target)
	}
	return target, err
}

// relativeLink rewrites the absolute target of the symlink at path if it leads into base.
func relativeLink(base, path, target string) string {
	inside := 0 // components that path and target have in common
	rest, links := trimSlashes(target), trimSlashes(path)
	for {
		a, restA, _ := strings.Cut(rest, "/")
		b, restB, _ := strings.Cut(links, "/")
		if a == "" || a != b {
			break
		}
		inside++
		rest, links = trimSlashes(restA), trimSlashes(restB)
	}
	if inside < components(base) {
		return target
	}
	up := max(components(links), 1) - 1
	if up == 0 && rest == "" {
		return "."
	}
	if rel := strings.Repeat("../", up) + rest; len(rel) <= maxTarget {
		return rel
	}
	return target
}

func trimSlashes(s string) string { return strings.TrimLeft(s, "/") }

func components(path string) (n int) {
	for part := range strings.SplitSeq(path, "/") {
		if part != "" {
			n++
		}
	}
	return n
}
