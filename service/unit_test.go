package service

import (
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
