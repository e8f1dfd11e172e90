package fingerprint

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// vectors are testdata/fingerprint.json.
type vectors struct {
	Hashes []struct {
		Name, Kind, MD5Hex, Value string
		RawBase64                 []byte
		Argv                      []string
		Property, OS              string
	}
	Similarity []struct {
		Name, OS, HardwareIDKey string
		Threshold               int
		Saved, Current          map[string]string
		Decision                Decision
		Matched, Total          *int
		Percent                 *float32
		Similar                 bool
	}
	Fingerprint []struct {
		Name              string
		VaultContent      string
		VaultEntryMissing bool
		Current           map[string]string
		Result            string
		Stored            *struct {
			SimilarityThreshold   int
			HardwareHashIsCurrent bool
		}
	}
	ThresholdValidation []struct {
		Value    int
		Accepted bool
	}
}

func load(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/fingerprint.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Hashes) != 20 || len(v.Similarity) != 42 || len(v.Fingerprint) != 7 || len(v.ThresholdValidation) != 7 {
		t.Fatalf("%d hashes, %d similarities, %d fingerprints, %d thresholds", len(v.Hashes), len(v.Similarity), len(v.Fingerprint), len(v.ThresholdValidation))
	}
	return v
}

func TestHashVectors(t *testing.T) {
	t.Parallel()
	for _, h := range load(t).Hashes {
		got := string(h.RawBase64)
		if h.Kind == "md5-of-stdout" {
			got = Digest(h.RawBase64)
			if sum := md5.Sum(h.RawBase64); h.MD5Hex != "" && hex.EncodeToString(sum[:]) != h.MD5Hex {
				t.Errorf("%s: the vector contradicts itself", h.Name)
			}
		}
		if got != h.Value {
			t.Errorf("%s: %q, want %q", h.Name, got, h.Value)
		}
		if h.Property != UUID {
			continue
		}
		if out := uuidOutput("11112222-3333-4444-5555-666677778888", strings.Contains(h.Name, "cim")); out != string(h.RawBase64) {
			t.Errorf("%s: we make %q of it, the tool prints %q", h.Name, out, h.RawBase64)
		}
	}
}

func TestStockQueries(t *testing.T) {
	t.Parallel()
	queries := map[string]query{}
	for _, q := range windowsQueries() {
		queries[q.property] = q
	}
	checked := 0
	for _, h := range load(t).Hashes {
		if len(h.Argv) == 0 {
			continue
		}
		var got string
		q := queries[h.Property]
		switch h.Argv[0] {
		case "wmic.exe":
			got = strings.Join(q.wmic, " ")
		case "powershell.exe":
			got = q.pipeline()
		default:
			continue
		}
		checked++
		if want := strings.Join(h.Argv[1:], " "); got != want {
			t.Errorf("%s: asks %q, stock asks %q", h.Name, got, want)
		}
	}
	if checked < 7 {
		t.Errorf("only %d queries checked", checked)
	}
}

func TestSimilarityVectors(t *testing.T) {
	t.Parallel()
	for _, c := range load(t).Similarity {
		r := compare(c.Saved, c.Current, c.Threshold, c.HardwareIDKey)
		if r.Similar != c.Similar || r.Decision != c.Decision || r.Rebase {
			t.Errorf("%s: got %+v, want %v by %s", c.Name, r, c.Similar, c.Decision)
		}
		if c.Percent != nil && (r.Percent != *c.Percent || r.Matched != *c.Matched || r.Total != *c.Total) {
			t.Errorf("%s: got %+v, want %v of %v = %v", c.Name, r, *c.Matched, *c.Total, *c.Percent)
		}
		if got := idOf(c.Current); len(c.Current) == 9 && got != c.HardwareIDKey {
			t.Errorf("%s: the machine is known by %s, want %s", c.Name, got, c.HardwareIDKey)
		}
		// That our mark is there on both sides changes nothing.
		saved, current := maps.Clone(c.Saved), maps.Clone(c.Current)
		if len(saved) > 0 && len(current) > 0 {
			saved[Collector], current[Collector] = "1", "1"
			if marked := compare(saved, current, c.Threshold, c.HardwareIDKey); marked.Similar != r.Similar || marked.Percent != r.Percent {
				t.Errorf("%s: with the collector's mark %+v", c.Name, marked)
			}
		}
	}
}

func TestFingerprintVectors(t *testing.T) {
	t.Parallel()
	for _, c := range load(t).Fingerprint {
		r, changed, err := Ensure([]byte(c.VaultContent), c.Current, DefaultThreshold)
		if c.VaultContent == "{not json" {
			// Deviation: stock would replace it in silence, with threshold 0.
			if !errors.Is(err, ErrUnreadable) || changed || r.Fingerprint != "" {
				t.Errorf("%s: %+v, %v, %v", c.Name, r, changed, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		const saved = "11111111-2222-4333-8444-555555555555"
		if (c.Result == "kept") != (r.Fingerprint == saved) || changed != (c.Stored != nil) {
			t.Errorf("%s: %s, changed %v", c.Name, r.Fingerprint, changed)
		}
		if c.Stored == nil {
			continue
		}
		if id, err := uuid.Parse(r.Fingerprint); err != nil || id.Version() != 4 || r.Fingerprint != strings.ToLower(r.Fingerprint) {
			t.Errorf("%s: the new fingerprint is %q", c.Name, r.Fingerprint)
		}
		if r.SimilarityThreshold != c.Stored.SimilarityThreshold || !maps.Equal(r.HardwareHash, c.Current) {
			t.Errorf("%s: stored %+v", c.Name, r)
		}
	}
}

func TestThresholdVectors(t *testing.T) {
	t.Parallel()
	for _, c := range load(t).ThresholdValidation {
		if ValidThreshold(c.Value) != c.Accepted {
			t.Errorf("%d: %v", c.Value, !c.Accepted)
		}
	}
}
