package doc

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

var (
	declaredName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`) })
	mention      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\{\s*([a-zA-Z0-9_]+)\s*\}\}`) })
)

const maxFound = 50 // findings that are told about one document

// ParameterTypes lists the types a parameter can have.
func ParameterTypes() []string {
	return []string{"String", "StringList", "StringMap", "Integer", "Boolean", "MapList"}
}

// CheckContent finds what is wrong with a document as a service sees it when
// it is created. Each finding begins with the place, as a JSON path.
func (d Document) CheckContent() []error {
	if err := d.shape(); err != nil {
		return []error{fmt.Errorf("$: %w", err)}
	}
	c := &checker{doc: d}
	for _, name := range slices.Sorted(maps.Keys(d.Parameters)) {
		c.parameter("$.parameters."+name, name, d.Parameters[name])
	}
	if d.v1() {
		for _, action := range slices.Sorted(maps.Keys(d.RuntimeConfig)) {
			path := "$.runtimeConfig." + action
			c.action(path, action)
			c.mentions(path+".properties", d.RuntimeConfig[action].Properties)
			c.mentions(path+".settings", d.RuntimeConfig[action].Settings)
		}
		return c.found
	}
	names := map[string]int{}
	for i, s := range d.MainSteps {
		c.step(fmt.Sprintf("$.mainSteps[%d]", i), s)
		if first, ok := names[s.Name]; ok {
			c.add(fmt.Sprintf("$.mainSteps[%d].name", i), "%s is the name of mainSteps[%d] already; step names must differ", quoted(s.Name), first)
		} else {
			names[s.Name] = i
		}
	}
	return c.found
}

type checker struct {
	doc   Document
	found []error
}

func (c *checker) add(path, format string, args ...any) {
	if len(c.found) >= maxFound {
		return
	}
	c.found = append(c.found, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

func (c *checker) step(path string, s MainStep) {
	if !ValidStepName(s.Name) {
		c.add(path+".name", "%s must be 1 to %d printable characters without slashes, \"..\" or any of <>|?*", quoted(s.Name), maxName)
	}
	c.action(path+".action", s.Action)
	switch s.Inputs.(type) {
	case nil, map[string]any, []any:
	default:
		c.add(path+".inputs", "must be an object")
	}
	c.mentions(path+".inputs", s.Inputs)
	c.mentions(path+".settings", s.Settings)
	c.precondition(path+".precondition", s.Precondition)
}

func (c *checker) action(path, action string) {
	if !Known(action) {
		c.add(path, "%s is not an action that agents know", quoted(action))
	}
}

func (c *checker) precondition(path string, p map[string][]string) {
	if len(p) > 0 && !c.doc.preconditions() {
		c.add(path, "preconditions need schemaVersion 2.2, the document has %s", c.doc.SchemaVersion)
		return
	}
	for _, operator := range slices.Sorted(maps.Keys(p)) {
		if operator != "StringEquals" {
			c.add(path+"."+operator, "is not an operator; use StringEquals")
			continue
		}
		if len(p[operator]) != 2 {
			c.add(path+"."+operator, "takes two arguments, not %d", len(p[operator]))
		}
		c.mentions(path+"."+operator, anyList(p[operator]))
	}
}

func (c *checker) parameter(path, name string, p Parameter) {
	if !declaredName().MatchString(name) {
		c.add(path, "a parameter's name must be 1 to 128 letters, digits, _ . or -")
	}
	if !slices.Contains(ParameterTypes(), p.Type) {
		c.add(path+".type", "%s is not one of %s", quoted(p.Type), strings.Join(ParameterTypes(), ", "))
		return
	}
	if p.AllowedPattern != "" {
		if _, err := compile(p.AllowedPattern); err != nil {
			c.add(path+".allowedPattern", "%s is not an expression of RE2 syntax: %v", quoted(p.AllowedPattern), err)
			return
		}
	}
	if p.Default == nil {
		return
	}
	if !p.hasType(p.Default) {
		c.add(path+".default", "is not of type %s", p.Type)
		return
	}
	v := p.Default
	if p.Type == "Boolean" || p.Type == "Integer" {
		v = valueText(v)
	}
	if !hasReference(p.Default) {
		if err := p.checkValue(v); err != nil {
			c.add(path+".default", "%v", err)
		}
	}
}

// hasType accepts also the text forms that service and agents take.
func (p Parameter) hasType(v any) bool {
	_, isText := v.(string)
	switch p.Type {
	case "String":
		return isText
	case "Boolean", "Integer":
		_, err := p.convert([]string{valueText(v)})
		return err == nil
	case "StringMap":
		_, isMap := v.(map[string]any)
		return isText || isMap
	}
	list, isList := v.([]any)
	return isList && !slices.ContainsFunc(list, func(e any) bool {
		if p.Type == "StringList" {
			_, ok := e.(string)
			return !ok
		}
		_, ok := e.(map[string]any)
		return !ok
	})
}

// mentions finds placeholders of parameters that are not declared.
func (c *checker) mentions(path string, v any) {
	switch v := v.(type) {
	case string:
		for _, m := range mention().FindAllStringSubmatch(v, -1) {
			if _, ok := c.doc.Parameters[m[1]]; !ok && m[1] != "platformType" {
				c.add(path, "{{ %s }} is not a declared parameter", m[1])
			}
		}
	case []any:
		for i, e := range v {
			c.mentions(fmt.Sprintf("%s[%d]", path, i), e)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			c.mentions(path+"."+k, v[k])
		}
	}
}
