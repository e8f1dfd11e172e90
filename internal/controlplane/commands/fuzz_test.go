package commands

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"ssmagent/internal/wire/doc"
)

func FuzzParseMessageID(f *testing.F) {
	f.Add("aws.ssm.9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60.mi-0a1b2c3d4e5f60718")
	f.Add("aws.ssm.../../x.i-12345678")
	f.Fuzz(func(t *testing.T, s string) {
		node, id, err := ParseMessageID(s)
		if err != nil {
			return
		}
		if MessageID(id, node) != s || strings.ContainsAny(node+id, "/. \\") {
			t.Errorf("%q gives %q and %q", s, id, node)
		}
	})
}

// FuzzReply: what is kept of a reply is within bounds, whatever it says.
func FuzzReply(f *testing.F) {
	b, err := json.Marshal(final(doc.Success))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"documentStatus":"Failed","runtimeStatus":{"x":{"status":"","startDateTime":"0001-01-01T00:00:00.000Z"}},"additionalInfo":{"runtimeStatusCounts":{"a":-1,"b":9223372036854775807}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r doc.Reply
		if json.Unmarshal(b, &r) != nil {
			return
		}
		if n := total(r.AdditionalInfo.RuntimeStatusCounts); n < 0 {
			t.Errorf("%d steps are counted", n)
		}
		for _, st := range r.RuntimeStatus {
			k := stepResult(Step{Name: "x"}, st)
			if _, ok := outcome(k.Status); !ok {
				t.Errorf("status %q is kept", k.Status)
			}
			for text, most := range map[string]int{k.Output: maxOutput, k.StandardOutput: maxStream, k.StandardError: maxStream, k.Action: maxName} {
				if utf8.RuneCountInString(text) > most {
					t.Errorf("%d characters are kept, at most %d may", utf8.RuneCountInString(text), most)
				}
			}
			if _, err := json.Marshal(k); err != nil {
				t.Error(err)
			}
		}
	})
}
