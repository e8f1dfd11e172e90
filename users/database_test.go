package users

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEntry(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]entry{
		"ada:x:1000:1001:Ada,,,:/home/ada:/bin/bash\n": {name: "ada", uid: 1000, gid: 1001, home: "/home/ada", shell: "/bin/bash"},
		"a:*:4294967294:0:::":                          {name: "a", uid: 4294967294},
	} {
		if e, ok := parseEntry(line); !ok || e != want {
			t.Errorf("%q: %+v, %v", line, e, ok)
		}
	}
	for _, line := range []string{"", "+::::::", "-ada:x:1:1:::", "#ada:x:1:1:::", "ada:x:1:1::", "ada:x:-1:1:::", "ada:x:1:4294967295:::", "ada:x:1:1::::", "ada:x: 1:1:::", ":x:1:1:::"} {
		if e, ok := parseEntry(line); ok {
			t.Errorf("%q was taken for %+v", line, e)
		}
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	const file = "root:x:0:\nwheel:x:10:bob,ada\nbad line\n+:::\nada:x:1001:\nown:x:1001:ada\nops:x:20:adalbert,ada\n"
	if g, ok, err := find(strings.NewReader(file), parseGroup, func(g group) bool { return g.gid == 20 }); g.name != "ops" || !ok || err != nil {
		t.Errorf("%+v, %v, %v", g, ok, err)
	}
	ids, err := memberships(strings.NewReader(file), entry{name: "ada", gid: 1001})
	if d := cmp.Diff([]uint32{1001, 10, 20}, ids); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := memberships(strings.NewReader(strings.Repeat("x", maxLine+1)), entry{}); err == nil {
		t.Error("a line without an end is no file of groups")
	}
}

func TestFilesOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "group: files\n": true, "passwd: sss\ngroup:\tfiles systemd # sss\n": true, "group: files [NOTFOUND=return] \n": true,
		"group: files sss\n": false, "group:sss files": false, "group: compat": false, "  group: files [SUCCESS=merge] ldap\n": false,
	} {
		if got := filesOnly(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAssigned(t *testing.T) {
	t.Parallel()
	const text = "# HOME=/no\nHOMES=/no\nHOME=/old\nHOME=\"/srv\"\nENV_PATH\tPATH=/a:/b\n"
	for name, want := range map[string]string{"HOME": "/srv", "ENV_PATH": "PATH=/a:/b", "SHELL": ""} {
		if got := assigned(text, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"ada": true, "_apt": true, "ada.l-2": true, `LAB\ada`: true, "ada@lab.example": true, "jürgen": true, "4711": true,
		"": false, "-ada": false, "+4711": false, "@lab": false, "ada lovelace": false, "a:b": false, "a/b": false, "a;b": false, "a$": false, "a\x00": false, "a\nb": false, "a\xff": false,
		strings.Repeat("a", 256): true, strings.Repeat("a", 257): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// FuzzDatabase: what is in account files never gives an id that means none, and
// what was parsed is in the line.
func FuzzDatabase(f *testing.F) {
	f.Add("ada:x:1000:1001:Ada,,,:/home/ada:/bin/bash\nwheel:x:10:bob,ada\n")
	f.Add("group: files [NOTFOUND=return] sss\n")
	f.Fuzz(func(t *testing.T, text string) {
		filesOnly(text)
		assigned(text, "HOME")
		for line := range strings.Lines(text) {
			if e, ok := parseEntry(line); ok && (e.uid == 1<<32-1 || e.gid == 1<<32-1 || !strings.HasPrefix(line, e.name+":")) {
				t.Errorf("%q: %+v", line, e)
			}
		}
		ids, err := parseIDs(text)
		if err == nil && len(ids) != len(strings.Fields(text)) {
			t.Errorf("%q: %v", text, ids)
		}
		if ids, err := memberships(strings.NewReader(text), entry{name: "ada", gid: 1}); err == nil && ids[0] != 1 {
			t.Errorf("%q: %v", text, ids)
		}
	})
}
