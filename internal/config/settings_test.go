package config

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md")

// leaves are the settings that the types have.
func leaves(t reflect.Type, path string) []string {
	var all []string
	for f := range t.Fields() {
		name := join(path, jsonName(f))
		switch {
		case f.Type.Kind() == reflect.Struct:
			all = append(all, leaves(f.Type, name)...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			all = append(all, leaves(f.Type.Elem(), name+"[]")...)
		default:
			all = append(all, name)
		}
	}
	return all
}

// TestSettingsAreAll: each key has its rule and says what it does, in the
// order of the types, and each default is in its range.
func TestSettingsAreAll(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, s := range Settings() {
		paths = append(paths, s.Path)
		if s.Effect == "" || s.Type == "" || s.Default == "" {
			t.Errorf("%+v is not whole", s)
		}
	}
	if d := cmp.Diff(leaves(reflect.TypeFor[Config](), ""), paths); d != "" {
		t.Error(d)
	}
	def := Default()
	for _, r := range rules() {
		if v := value(&def, r.path); r.high != 0 && (v.Int() < int64(r.low) || v.Int() > int64(r.high)) || len(r.words) > 0 && v.Kind() == reflect.String && !slices.Contains(r.words, v.String()) {
			t.Errorf("the default of %s, %s, is out of its range", r.path, printed(v))
		}
	}
}

// TestEveryNumberKeepsItsRange: bounds are in, what is beyond becomes the
// default with one warning that names the setting.
func TestEveryNumberKeepsItsRange(t *testing.T) {
	t.Parallel()
	for _, r := range rules() {
		if r.high == 0 {
			continue
		}
		for n, out := range map[int]bool{r.low: false, r.high: false, r.low - 1: true, r.high + 1: r.high != none} {
			if r.high == none && n == r.high+1 {
				continue // not a number of ours
			}
			text, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			file := string(text)
			for _, name := range slices.Backward(strings.Split(r.path, ".")) {
				file = `{"` + name + `":` + file + `}`
			}
			c, w := load(t, file)
			got, def := value(&c, r.path).Int(), Default()
			if out && (got != value(&def, r.path).Int() || len(w) != 1 || w[0].Field != r.path || !strings.Contains(w[0].Message, r.span())) ||
				!out && (got != int64(n) || len(w) != 0) {
				t.Errorf("%s: %d, %v", file, got, w)
			}
		}
	}
}

const (
	settingsFile = "../../docs/configuration.md"
	tableFrom    = "<!-- made by: go test ./internal/config -run Document -update -->\n"
	tableTo      = "<!-- end -->\n"
)

// TestSettingsDocument: the table of the documentation is the code's.
func TestSettingsDocument(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("\n| key | type | default | range | effect | a change counts after |\n|---|---|---|---|---|---|\n")
	for _, s := range Settings() {
		b.WriteString("| `" + s.Path + "` | " + s.Type + " | `" + s.Default + "` | " + s.Range + " | " + s.Effect + " | " + s.Counts + " |\n")
	}
	b.WriteByte('\n')
	text, err := os.ReadFile(settingsFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableFrom)
	table, after, ok2 := strings.Cut(rest, tableTo)
	if !ok || !ok2 {
		t.Fatal("no place for the table")
	}
	if *update {
		if err := os.WriteFile(settingsFile, []byte(before+tableFrom+b.String()+tableTo+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(b.String(), table); d != "" {
		t.Errorf("run it with -update:\n%s", d)
	}
}
