package ssm

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Bounds of a Time in epoch seconds: the years 1 to 9999, which have a text form.
const (
	minSeconds = -62135596800
	endSeconds = 253402300800
)

// Time is a JSON number of epoch seconds with up to three decimals. A string
// in ISO 8601 is taken too, as SDKs do. The zero Time is written as null.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		v, err := time.Parse(time.RFC3339, s)
		if err != nil || v.Unix() < minSeconds || v.Unix() >= endSeconds {
			return fmt.Errorf("time %.40q is neither epoch seconds nor ISO 8601 within the years 1 to 9999", s)
		}
		*t = Time{v.UTC()}
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	ms := math.Round(f * 1000)
	if err != nil || !(ms >= minSeconds*1000 && ms < endSeconds*1000) { // NaN is in no range
		return fmt.Errorf("time %.40s is not a number of epoch seconds within the years 1 to 9999", b)
	}
	*t = Time{time.UnixMilli(int64(ms)).UTC()}
	return nil
}
