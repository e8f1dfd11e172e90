package service

import (
	"encoding/xml"
	"slices"
	"strings"
	"testing"
)

func TestUnit(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "KillMode=process", "Restart=always", "RestartPreventExitStatus=194", "ExecStart=" + packaged, strings.TrimSuffix(condition, "\n")} {
		if strings.Count(Unit(), line+"\n") != 1 {
			t.Errorf("the unit does not have the line %s once", line)
		}
	}
	if unitFor(packaged, nil) != Unit() {
		t.Error("the packaged program's unit is another text")
	}
}

func TestUnitForAnotherProgram(t *testing.T) {
	t.Parallel()
	got := unitFor("/opt/my agent/100%", []string{"-root", "/a b", "", `q"\`, "$HOME"})
	want := `ExecStart="/opt/my agent/100%%" -root "/a b" "" "q\"\\" $$HOME` + "\n"
	if !strings.Contains(got, want) || strings.Contains(got, packaged) {
		t.Errorf("the unit is\n%s", got)
	}
	if line := unitFor("/a\nUser=x", nil); strings.Contains(line, "\nUser=x") {
		t.Error("a line feed in a name made a line of its own")
	}
}

// job is what launchd reads.
type job struct {
	Keys    []string `xml:"dict>key"`
	Strings []string `xml:"dict>string"`
	Words   []string `xml:"dict>array>string"`
}

func TestPlist(t *testing.T) {
	t.Parallel()
	var j job
	if err := xml.Unmarshal([]byte(Plist()), &j); err != nil {
		t.Fatal(err)
	}
	want := []string{"Label", "ProgramArguments", "UserName", "RunAtLoad", "KeepAlive", "AbandonProcessGroup", "ExitTimeOut"}
	if !slices.Equal(j.Keys, want) || !slices.Equal(j.Strings, []string{macName, "root"}) || !slices.Equal(j.Words, []string{macPackaged}) {
		t.Errorf("the job is %+v", j)
	}
	if plistFor(macName, macPackaged, nil) != Plist() {
		t.Error("the packaged program's job is another text")
	}
}

func TestPlistForAnotherProgram(t *testing.T) {
	t.Parallel()
	command := []string{"/opt/my agent/<100%>", "-root", "/a & b", ""}
	var j job
	if err := xml.Unmarshal([]byte(plistFor("a<b", command[0], command[1:])), &j); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(j.Words, command) || j.Strings[0] != "a<b" {
		t.Errorf("the job is %+v", j)
	}
}

func TestNoTemplate(t *testing.T) {
	t.Parallel()
	if noTemplate("/a", []string{"{b", "c}"}) != nil || noTemplate("/a", []string{"x{{y"}) == nil || noTemplate("/{{", nil) == nil {
		t.Error("what the library would read is not told from the rest")
	}
}
