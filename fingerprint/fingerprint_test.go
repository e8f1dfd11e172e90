package fingerprint

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func facts(change map[string]string) map[string]string {
	f := map[string]string{MachineID: "id\n", Hostname: "host", IPAddress: "192.0.2.1", MAC: "02:00:5e:00:53:01",
		Processor: "p", Memory: "m", BIOS: "b", System: "s", Disk: "d", Collector: collectorVersion}
	maps.Copy(f, change)
	return f
}

func saved(t *testing.T, r Record) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRead(t *testing.T) {
	t.Parallel()
	a, err := Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := Compare(a, a, 100).Total; n != 9 {
		t.Errorf("%d facts: %v", n, a)
	}
	b, err := Read(t.Context())
	if err != nil || !maps.Equal(a, b) {
		t.Errorf("read again: %v, %v", b, err)
	}
	if r := Compare(a, b, 100); !r.Similar {
		t.Errorf("not itself: %+v", r)
	}
}

func TestTakeOverFromStock(t *testing.T) {
	t.Parallel()
	stock := Record{Fingerprint: "u", SimilarityThreshold: 40, HardwareHash: map[string]string{
		MachineID: "id\n", Hostname: "host", IPAddress: "192.0.2.9", MAC: "x", "processor-hash": "P", "disk-info": "D"}}
	r, changed, err := Ensure(saved(t, stock), facts(nil), DefaultThreshold)
	if err != nil || !changed || r.Fingerprint != "u" {
		t.Fatalf("%+v, %v, %v", r, changed, err)
	}
	if r.HardwareHash["processor-hash"] != "P" || r.HardwareHash[IPAddress] != "192.0.2.1" || r.HardwareHash[Collector] != collectorVersion {
		t.Errorf("re-based to %v", r.HardwareHash)
	}
	// From then on it is compared by all of it, and not written again.
	if again, changed, err := Ensure(saved(t, r), facts(nil), DefaultThreshold); err != nil || changed || again.Fingerprint != "u" {
		t.Errorf("%+v, %v, %v", again, changed, err)
	}
	other := facts(map[string]string{IPAddress: "192.0.2.7", Hostname: "h", MAC: "x", Processor: "x", Memory: "x", Disk: "x", BIOS: "x"})
	if r, changed, err := Ensure(saved(t, r), other, DefaultThreshold); err != nil || !changed || r.Fingerprint == "u" {
		t.Errorf("another machine: %+v, %v, %v", r, changed, err)
	}
	if r, _, err := Ensure(saved(t, stock), facts(map[string]string{MachineID: "other\n"}), DefaultThreshold); err != nil || r.Fingerprint == "u" {
		t.Errorf("another machine id: %+v, %v", r, err)
	}
}

// A record that we made serves the stock agent when it comes back, its nine
// properties being filled in.
func TestHandBackToStock(t *testing.T) {
	t.Parallel()
	stock := map[string]string{"processor-hash": "P", "memory-hash": "M", "bios-hash": "B", "system-hash": "S", "disk-info": "D"}
	r, _, err := Ensure(nil, facts(nil), DefaultThreshold)
	if err != nil {
		t.Fatal(err)
	}
	r = r.Fill(stock)
	seen := map[string]string{MachineID: "id\n", Hostname: "host", IPAddress: "192.0.2.77", MAC: "02:00:5e:00:53:01"}
	maps.Copy(seen, stock)
	if got := Compare(r.HardwareHash, seen, DefaultThreshold); !got.Similar || got.Matched != 8 || got.Total != 9 {
		t.Errorf("stock sees %+v", got)
	}
	if got := r.Fill(map[string]string{MachineID: "no"}); got.HardwareHash[MachineID] != "id\n" {
		t.Error("Fill replaced what was there")
	}
}

// TestUpgradeOfWindows: the stock agent's UUID is another after an upgrade to
// the version from which it asks another tool; the machine is not.
func TestUpgradeOfWindows(t *testing.T) {
	t.Parallel()
	const id = "11112222-3333-4444-5555-666677778888"
	now := func(id string, cim bool) map[string]string {
		return map[string]string{UUID: uuidDigest(id, cim), OtherUUID: uuidDigest(id, !cim), IPAddress: "192.0.2.9", Hostname: "h", Collector: collectorVersion}
	}
	before := Record{"u", map[string]string{UUID: uuidDigest(id, false), IPAddress: "192.0.2.1", Hostname: "old"}, 89}
	r, changed, err := Ensure(saved(t, before), now(id, true), DefaultThreshold)
	if err != nil || !changed || r.Fingerprint != "u" || r.HardwareHash[UUID] != uuidDigest(id, true) {
		t.Errorf("upgraded: %+v, %v, %v", r, changed, err)
	}
	if again, changed, err := Ensure(saved(t, r), now(id, true), DefaultThreshold); err != nil || changed || again.Fingerprint != "u" {
		t.Errorf("once more: %+v, %v, %v", again, changed, err)
	}
	if got := Compare(before.HardwareHash, now("99992222-3333-4444-5555-666677778888", true), DefaultThreshold); got.Similar || got.Decision != ByHardwareID {
		t.Errorf("another machine: %+v", got)
	}
	if got := Compare(map[string]string{UUID: "", IPAddress: "x"}, now("", true), DefaultThreshold); got.Decision == ByCollector && got.Total != 3 {
		t.Errorf("without a UUID: %+v", got)
	}
	if uuidDigest("", true) != "" {
		t.Error("no UUID has a digest")
	}
}

func TestThresholdCountsNineProperties(t *testing.T) {
	t.Parallel()
	moved := facts(map[string]string{IPAddress: "192.0.2.2"})
	if r := Compare(facts(nil), moved, 88); !r.Similar || r.Total != 9 || !slices.Equal(r.Changed, []string{IPAddress}) {
		t.Errorf("%+v", r)
	}
	if r := Compare(facts(nil), moved, 89); r.Similar {
		t.Errorf("%+v", r)
	}
}

func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{", "[]", `"x"`, `{"fingerprint":1}`, "\x00"} {
		if _, changed, err := Ensure([]byte(text), facts(nil), 40); !errors.Is(err, ErrUnreadable) || changed {
			t.Errorf("%q: changed %v, %v", text, changed, err)
		}
	}
	if _, _, err := Ensure(nil, map[string]string{MachineID: "\xff"}, 40); err == nil || !strings.Contains(err.Error(), "invalid characters") {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

func FuzzEnsure(f *testing.F) {
	f.Add([]byte(`{"fingerprint":"u","hardwareHash":{"machine-id":"a"},"similarityThreshold":40}`))
	f.Add([]byte(`{"fingerprint":"u","hardwareHash":null,"similarityThreshold":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, changed, err := Ensure(b, facts(nil), 40)
		if err == nil && (r.Fingerprint == "" || changed && !utf8.Valid(saved(t, r))) {
			t.Errorf("%+v", r)
		}
	})
}
