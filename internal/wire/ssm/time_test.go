package ssm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want time.Time
		out  string
	}{
		{`1795366119.354`, time.Date(2026, 11, 22, 16, 48, 39, 354e6, time.UTC), `1795366119.354`},
		{`1741948013.0`, time.Unix(1741948013, 0), `1741948013`},
		{`1741480320.5`, time.UnixMilli(1741480320500), `1741480320.5`},
		{`1.741948013E9`, time.Unix(1741948013, 0), `1741948013`},
		{`1741948013.0004`, time.Unix(1741948013, 0), `1741948013`},
		{`0`, time.Unix(0, 0), `0`},
		{`-1.5`, time.UnixMilli(-1500), `-1.5`},
		{`null`, time.Time{}, `null`},
		{`"2025-03-14T10:26:53+01:00"`, time.Unix(1741944413, 0), `1741944413`},
		{`"2025-03-14T09:26:53.125Z"`, time.UnixMilli(1741944413125), `1741944413.125`},
		{`"0001-01-01T00:00:00Z"`, time.Time{}, `null`},
		{`253402300799.999`, time.UnixMilli(253402300799999), `253402300799.999`},
	}
	for _, tt := range tests {
		got := Time{time.Unix(5, 0)}
		if err := json.Unmarshal([]byte(tt.in), &got); err != nil || !got.Equal(tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.in, got, err, tt.want)
			continue
		}
		if b, err := json.Marshal(got); err != nil || string(b) != tt.out {
			t.Errorf("%s: written as %s, %v, want %s", tt.in, b, err, tt.out)
		}
	}
}

func TestTimeRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`true`, `{}`, `[1]`, `""`, `"soon"`, `"1741948013"`, `253402300800`, `1e300`, `-1e300`, `-62135596801`,
		`"0000-12-31T00:00:00Z"`, `"9999-12-31T23:59:59-01:00"`, `"` + strings.Repeat("x", 5000) + `"`, `[` + strings.Repeat("1,", 5000) + `1]`} {
		var v Time
		err := json.Unmarshal([]byte(in), &v)
		if err == nil || !strings.Contains(err.Error(), "epoch seconds") || len(err.Error()) > 200 {
			t.Errorf("%.40s: %v became %v", in, err, v)
		}
	}
	var v Time
	for _, in := range []string{"NaN", "Inf", "", `"`} {
		if v.UnmarshalJSON([]byte(in)) == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

func TestTimeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Time{time.UnixMilli(rapid.Int64Range(minSeconds*1000+1, endSeconds*1000-1).Draw(t, "ms"))}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Time
		if err := json.Unmarshal(b, &got); err != nil || !got.Equal(want.Time) {
			t.Fatalf("%v became %s, then %v, %v", want, b, got, err)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{`1795366119.354`, `"2025-03-14T09:26:53.125Z"`, `null`, `-1e300`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Time
		if json.Unmarshal(b, &v) != nil {
			return
		}
		first, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var w Time
		if err := json.Unmarshal(first, &w); err != nil {
			t.Fatalf("%s is written as %s, which is refused: %v", b, first, err)
		}
		if second, err := json.Marshal(w); err != nil || string(second) != string(first) {
			t.Fatalf("%s is written as %s, then as %s, %v", b, first, second, err)
		}
	})
}
