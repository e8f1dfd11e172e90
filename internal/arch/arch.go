// Package arch checks the shape of the source tree: who may import whom, what
// the portable core must not contain. Its test runs the check on this module.
package arch

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Rules describe a module.
type Rules struct {
	Module string
	// Layers from the bottom up: a package may import packages of lower
	// layers only, never of its own. A trailing "/..." takes the packages
	// below a folder.
	Layers [][]string
	// Forbidden lists, for a package or folder, import prefixes it may not
	// have, whatever the layers say.
	Forbidden map[string][]string
	// Core is the folder of the portable core.
	Core string
	// Drivers are folders of the core whose tests drive a real system.
	Drivers []string
}

// Fault is one breach of the rules.
type Fault struct {
	Kind string // layer, forbidden, unlisted, comment, os-file, goos, sleep, init
	File string
	Text string
}

func (f Fault) String() string { return f.File + ": " + f.Kind + ": " + f.Text }

// Check reads every Go file below root and returns what breaks the rules.
// Tests may import what they like, but they obey the other rules.
func Check(root string, r Rules) ([]Fault, error) {
	c := checker{rules: r, comments: map[string]bool{}, seen: map[string]string{}}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "build" || ownModule(p)) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(rel, ".go") {
			return c.file(p, rel)
		}
		return nil
	})
	for dir, file := range c.seen {
		if !c.comments[dir] {
			c.fault("comment", file, "package "+dir+" has no package comment")
		}
	}
	slices.SortFunc(c.faults, func(a, b Fault) int { return strings.Compare(a.String(), b.String()) })
	return c.faults, err
}

// ownModule says whether the folder is a module of its own.
func ownModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

type checker struct {
	rules    Rules
	faults   []Fault
	comments map[string]bool
	seen     map[string]string
}

func (c *checker) fault(kind, file, text string) {
	c.faults = append(c.faults, Fault{kind, file, text})
}

func (c *checker) file(name, rel string) error {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir, base := path.Dir(rel), path.Base(rel)
	test := strings.HasSuffix(base, "_test.go")
	core := dir == c.rules.Core || strings.HasPrefix(dir, c.rules.Core+"/")
	if !test {
		c.seen[dir] = rel
		c.comments[dir] = c.comments[dir] || f.Doc != nil
		c.imports(f, dir, rel)
	}
	if core && osFile(base) && !(test && slices.Contains(c.rules.Drivers, dir)) {
		c.fault("os-file", rel, "the core has no file for one system: move it to a seam")
	} else if core && constrained(f) {
		c.fault("os-file", rel, "the core has no file with a build constraint: move it to a seam")
	}
	c.body(f, rel, core, test)
	return nil
}

// constrained says whether a file is built on some systems only.
func constrained(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, line := range group.List {
			if line.Pos() < f.Package && constraint.IsGoBuild(line.Text) {
				return true
			}
		}
	}
	return false
}

func (c *checker) imports(f *ast.File, dir, rel string) {
	own, listed := c.layer(dir)
	if !listed {
		c.fault("unlisted", rel, dir+" stands in no layer")
	}
	for _, imp := range f.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		for scope, prefixes := range c.rules.Forbidden {
			if !within(dir, scope) {
				continue
			}
			for _, pre := range prefixes {
				if p == pre || strings.HasPrefix(p, pre+"/") {
					c.fault("forbidden", rel, dir+" must not import "+p)
				}
			}
		}
		local, ok := strings.CutPrefix(p, c.rules.Module+"/")
		if !ok || !listed {
			continue
		}
		if l, ok := c.layer(local); ok && l >= own {
			c.fault("layer", rel, fmt.Sprintf("%s (layer %d) imports %s (layer %d)", dir, own, local, l))
		}
	}
}

// body looks for what no file, or no file of the core, may say.
func (c *checker) body(f *ast.File, rel string, core, test bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			if core && x.Name == "runtime" && n.Sel.Name == "GOOS" {
				c.fault("goos", rel, "the core must not ask runtime.GOOS: take it from platform.Info")
			}
			if x.Name == "time" && n.Sel.Name == "Sleep" {
				c.fault("sleep", rel, "time.Sleep hides a race or a poll: wait for what happens")
			}
		case *ast.GenDecl:
			if atPackageLevel(f, n) && !test && compiles(n) {
				c.fault("regexp", rel, "a regexp compiled at package level costs every start: use sync.OnceValue")
			}
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" && !test {
				c.fault("init", rel, "init() hides an assembly: do it in cmd")
			}
		}
		return true
	})
}

func atPackageLevel(f *ast.File, d *ast.GenDecl) bool { return slices.Contains(f.Decls, ast.Decl(d)) }

// compiles says whether a declaration compiles a regexp, and not in a function
// that is called later.
func compiles(d *ast.GenDecl) (found bool) {
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			found = found || ok && x.Name == "regexp" && n.Sel.Name == "MustCompile"
		}
		return true
	})
	return found
}

// layer returns the layer of a package; the longest entry that fits counts.
func (c *checker) layer(dir string) (int, bool) {
	best, layer := -1, 0
	for i, l := range c.rules.Layers {
		for _, entry := range l {
			if within(dir, entry) && len(entry) > best {
				best, layer = len(entry), i
			}
		}
	}
	return layer, best >= 0
}

// within says whether dir is the entry's package, or below "folder/...".
func within(dir, entry string) bool {
	if folder, ok := strings.CutSuffix(entry, "/..."); ok {
		return dir == folder || strings.HasPrefix(dir, folder+"/")
	}
	return dir == entry
}

// osFile says whether a file name carries a GOOS suffix that Go knows.
func osFile(base string) bool {
	name := strings.TrimSuffix(strings.TrimSuffix(base, ".go"), "_test")
	i := strings.LastIndexByte(name, '_')
	return i >= 0 && slices.Contains([]string{"linux", "windows", "darwin", "unix", "freebsd"}, name[i+1:])
}
