package fingerprint

import (
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"
)

const cpuinfo = `processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 85
model name	: Invented CPU 9000
stepping	: 7
microcode	: 0x1
cpu MHz		: 2500.000

processor	: 1
vendor_id	: GenuineIntel
cpu family	: 6
model		: 85
model name	: Invented CPU 9000
stepping	: 7
microcode	: 0x1
cpu MHz		: 3100.000
`

func TestProcessorFacts(t *testing.T) {
	t.Parallel()
	want := []string{"cpu family=6", "model name=Invented CPU 9000", "model=85", "stepping=7", "vendor_id=GenuineIntel", "count=2"}
	if got := processorFacts(cpuinfo); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	later := strings.NewReplacer("3100", "800", "0x1", "0x2").Replace(cpuinfo)
	if digestFacts(processorFacts(later)) != digestFacts(processorFacts(cpuinfo)) {
		t.Error("the clock or the microcode counts")
	}
	if got := processorFacts(""); got != nil {
		t.Errorf("from nothing: %q", got)
	}
}

func TestMemoryTotal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"MemTotal:        8052984 kB\nMemFree: 1 kB\n": "half-gib=16",
		"MemTotal:        8049112 kB\n":                "half-gib=16",
		"MemTotal:        524288 kB\n":                 "half-gib=1",
		"MemTotal: 0 kB\n":                             "",
		"MemTotal: x kB\n":                             "",
		"MemTotal:\n":                                  "",
		"":                                             "",
	} {
		if got := strings.Join(memoryTotal(text), ""); got != want {
			t.Errorf("%q gave %q, want %q", text, got, want)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	mac := net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 1}
	facts := map[string]string{}
	addNetwork(facts, "host", []face{
		{ips: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}},
		{mac: mac, ips: []net.IP{net.ParseIP("2001:db8::1")}},
		{mac: net.HardwareAddr{1, 1, 1, 1, 1, 1}, ips: []net.IP{net.IPv4(192, 0, 2, 10), net.IPv4(10, 0, 0, 1)}},
	})
	if facts[Hostname] != "host" || facts[IPAddress] != "192.0.2.10" || facts[MAC] != "02:00:5e:00:53:01" {
		t.Errorf("%v", facts)
	}
	addNetwork(facts, "", nil)
	if facts[IPAddress] != "" || facts[MAC] != "" {
		t.Errorf("without interfaces: %v", facts)
	}
}

// smbios builds a table of structures; each has its formatted area after the
// header, and its strings.
func smbios(structures ...structure) []byte {
	var b []byte
	for _, s := range structures {
		b = append(b, s.kind, byte(4+len(s.data)), 0, 0)
		b = append(b, s.data...)
		for _, text := range s.strings {
			b = append(append(b, text...), 0)
		}
		if len(s.strings) == 0 {
			b = append(b, 0)
		}
		b = append(b, 0)
	}
	return b
}

func systemTable() []byte {
	id := []byte{0x22, 0x22, 0x11, 0x11, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x66, 0x66, 0x77, 0x77, 0xab, 0xcd}
	return smbios(
		structure{kind: 0, data: []byte{1, 2, 0, 0, 3}, strings: []string{"Vendor", "1.0", "01/01/2020"}},
		structure{kind: 1, data: append([]byte{1, 2, 0, 3}, id...), strings: []string{"Maker", "Product ", "Serial"}},
		structure{kind: 32},
		structure{kind: 4, data: make([]byte, 44)},
		structure{kind: 127},
		structure{kind: 0, data: []byte{9}},
	)
}

func TestSMBIOS(t *testing.T) {
	t.Parallel()
	all := parseSMBIOS(systemTable())
	if len(all) != 4 {
		t.Fatalf("%d structures", len(all))
	}
	if s := all[1]; s.uuid() != "11112222-3333-4444-5555-66667777ABCD" || s.text(4) != "Maker" || s.text(5) != "Product" || s.text(6) != "" || s.text(99) != "" {
		t.Errorf("system is %+v, uuid %s", s, s.uuid())
	}
	facts := map[string]string{}
	if id := smbiosFacts(systemTable(), facts); id != all[1].uuid() || facts[BIOS] == "" || facts[System] == "" || facts[Memory] != "" {
		t.Errorf("uuid %q, facts %v", id, facts)
	}
	raw := binary.LittleEndian.AppendUint32([]byte{0, 3, 0, 0}, 4)
	if got := firmwareTable(append(raw, "tableand more"...)); string(got) != "tabl" {
		t.Errorf("table %q", got)
	}
}

func TestStorageFacts(t *testing.T) {
	t.Parallel()
	b := make([]byte, 40, 64)
	binary.LittleEndian.PutUint32(b[12:], 40)
	binary.LittleEndian.PutUint32(b[16:], 47)
	binary.LittleEndian.PutUint32(b[24:], 1000) // beyond the end
	b = append(b, "Vendor\x00Disk 1  \x00"...)
	if got := storageFacts(b); got != "Vendor|Disk 1|" {
		t.Errorf("got %q", got)
	}
	b[10] = 1
	if got := storageFacts(b); got != "" {
		t.Errorf("a removable one gave %q", got)
	}
}

func FuzzSMBIOS(f *testing.F) {
	f.Add(systemTable())
	f.Fuzz(func(_ *testing.T, b []byte) {
		smbiosFacts(firmwareTable(b), map[string]string{})
		smbiosFacts(b, map[string]string{})
		storageFacts(b)
	})
}

// FuzzProc: whatever /proc says, facts are hashed or there are none.
func FuzzProc(f *testing.F) {
	f.Add("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\n")
	f.Add("MemTotal:        8039240 kB\nMemFree: 1 kB\n")
	f.Add("MemTotal: 18446744073709551615 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, facts := range [][]string{processorFacts(text), memoryTotal(text)} {
			if d := digestFacts(facts); len(facts) > 0 && d == "" || len(facts) == 0 && d != "" {
				t.Errorf("%q is hashed to %q", facts, d)
			}
		}
		if again := processorFacts(text + text); len(again) > 0 && len(processorFacts(text)) == 0 && text != "" && text[len(text)-1] == '\n' {
			t.Errorf("twice the lines make %q of nothing", again)
		}
	})
}

func TestStockTool(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		major, build uint32
		want         bool
	}{{10, 26039, false}, {10, 26040, true}, {10, 26100, true}, {6, 9600, false}} {
		if got := usesCIM(c.major, c.build); got != c.want {
			t.Errorf("%d.%d: %v", c.major, c.build, got)
		}
	}
}
