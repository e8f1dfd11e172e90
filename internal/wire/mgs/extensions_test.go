package mgs

import (
	"encoding/json"
	"testing"
)

func TestExtension(t *testing.T) {
	t.Parallel()
	raw, err := EncodeExtension(Extension{MaxPayload: LargePayload})
	if err != nil || string(raw) != `{"ssmagent":{"maxPayload":65536}}` {
		t.Fatalf("got %s, %v", raw, err)
	}
	for _, tc := range []struct {
		name, raw string
		want      int // 0: no peer of ours
	}{
		{"own", string(raw), LargePayload},
		{"absent", "", 0},
		{"null", "null", 0},
		{"of others", `{"other":{"maxPayload":5}}`, 0},
		{"no object", `{"ssmagent":7}`, 0},
		{"garbage", `{`, 0},
		{"empty", `{"ssmagent":{}}`, MinExtensionPayload},
		{"negative", `{"ssmagent":{"maxPayload":-1}}`, MinExtensionPayload},
		{"too large", `{"ssmagent":{"maxPayload":99999999}}`, MaxExtensionPayload},
		{"newer", `{"ssmagent":{"maxPayload":2048,"more":[1]},"x":1}`, 2048},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e, ok := DecodeExtension(json.RawMessage(tc.raw))
			if ok != (tc.want != 0) || e.MaxPayload != tc.want {
				t.Errorf("got %+v, %v", e, ok)
			}
		})
	}
}
