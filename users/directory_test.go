package users

import (
	"strings"
	"testing"
)

func TestDirectoryEntry(t *testing.T) {
	t.Parallel()
	ada := entry{name: "ada", uid: 501, gid: 20, home: "/Users/ada", shell: "/bin/zsh"}
	for _, tc := range []struct {
		name, out string
		want      entry
		fails     string
	}{
		{"plain", "NFSHomeDirectory: /Users/ada\nPrimaryGroupID: 20\nRecordName: ada\nUniqueID: 501\nUserShell: /bin/zsh\n", ada, ""},
		{"several names", "NFSHomeDirectory: /Users/ada\nPrimaryGroupID: 20\nRecordName: ada com.apple.idms.appleid.prd.1\nUniqueID: 501\nUserShell: /bin/zsh\n", ada, ""},
		{"values with blanks", "NFSHomeDirectory:\n /Volumes/More Room/ada\nPrimaryGroupID: 20\nRecordName:\n ada\n ada l\nUniqueID: 501\nUserShell: /bin/zsh\n",
			entry{"ada", "/Volumes/More Room/ada", "/bin/zsh", 501, 20}, ""},
		{"no shell", "No such key: UserShell\nPrimaryGroupID: 20\nUniqueID: 501\n", entry{name: "asked", uid: 501, gid: 20}, ""},
		{"nobody", "PrimaryGroupID: -2\nUniqueID: -2\n", entry{}, "UniqueID"},
		{"no group", "UniqueID: 501\n", entry{}, "PrimaryGroupID"},
		{"nothing", "", entry{}, "UniqueID"},
		{"a value before any name", " 501\nUniqueID:\n", entry{}, "UniqueID"},
	} {
		got, err := parseAttributes(tc.out).entry("asked")
		if got != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
}

func TestSearchPath(t *testing.T) {
	t.Parallel()
	if got := searchPath("/usr/local/bin\n/usr/bin\n\n# no\n/bin"); got != "/usr/local/bin:/usr/bin:/bin" {
		t.Error(got)
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add("NFSHomeDirectory:\n /Volumes/More Room/ada\nUniqueID: 501\nPrimaryGroupID: 20\n")
	f.Fuzz(func(t *testing.T, out string) {
		a := parseAttributes(out)
		if len(a) > maxAttributes {
			t.Errorf("%d attributes", len(a))
		}
		if e, err := a.entry("ada"); err == nil && (e.name == "" || e.uid == 1<<32-1) {
			t.Errorf("%+v", e)
		}
	})
}
