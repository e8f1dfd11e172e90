package fingerprint

import (
	"testing"

	"golang.org/x/sys/windows"
)

// TestFacts holds what is read of this machine to the forms that it has.
func TestFacts(t *testing.T) {
	t.Parallel()
	facts, err := Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := firmware()
	if err != nil {
		t.Fatal(err)
	}
	id := smbiosFacts(firmwareTable(raw), map[string]string{})
	v := windows.RtlGetVersion()
	cim := usesCIM(v.MajorVersion, v.BuildNumber)
	if len(id) != 36 || facts[UUID] != Digest([]byte(uuidOutput(id, cim))) || facts[OtherUUID] != Digest([]byte(uuidOutput(id, !cim))) {
		t.Errorf("UUID %q: %+v", id, facts)
	}
	for _, name := range []string{Hostname, System, Collector} {
		if facts[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	for _, name := range []string{IPAddress, MAC, Processor, Memory, BIOS, Disk} {
		if _, ok := facts[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if _, ok := facts[MachineID]; ok {
		t.Error("that is a property of Unix")
	}
	// A record of the stock agent of this machine, wherever it has moved.
	stock := map[string]string{UUID: facts[UUID], Hostname: "h", IPAddress: "192.0.2.1", "processor-hash": "x", "memory-hash": "x", "bios-hash": "x", "system-hash": "x", "disk-info": "x", MAC: "y"}
	if r := Compare(stock, facts, DefaultThreshold); !r.Similar || !r.Rebase {
		t.Errorf("%+v", r)
	}
}

// TestStockTools: all of the stock agent's digests are asked for; a tool that is
// not there gives none.
func TestStockTools(t *testing.T) {
	t.Parallel()
	facts := ReadStock(t.Context())
	for _, q := range windowsQueries() {
		if _, ok := facts[q.property]; !ok {
			t.Errorf("%s is missing", q.property)
		}
	}
}
