package doc

import (
	"encoding/json"
	"testing"
)

func seeds(f *testing.F, add func(v vector)) {
	f.Helper()
	for _, v := range load(f).Vectors {
		add(v)
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f, func(v vector) { f.Add([]byte(v.Document)) })
	f.Add([]byte(declared))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Decode(b)
		if err != nil {
			return
		}
		d.CheckContent()
		d.Platforms()
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("%s\n%v", again, err)
		}
	})
}

func FuzzDecodeYAML(f *testing.F) {
	seeds(f, func(v vector) { f.Add([]byte(v.DocumentYAML)); f.Add([]byte(v.Document)) })
	f.Add([]byte("schemaVersion: '2.2'\nmainSteps: [{name: a, inputs: {x: .inf}}]"))
	f.Add([]byte("a: &a [x]\nschemaVersion: '1.2'\nruntimeConfig: {b: {properties: [*a, {<<: {1: 2}}]}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeYAML(b)
		if err != nil {
			return
		}
		steps, err := d.Resolve(t.Context(), nil, Options{ValidateAll: true, Store: fakeStore{}})
		if err != nil {
			return
		}
		if _, err := json.Marshal(steps); err != nil {
			t.Fatalf("steps cannot be kept: %v", err)
		}
	})
}

func FuzzResolve(f *testing.F) {
	seeds(f, func(v vector) {
		p, _ := json.Marshal(v.Parameters)
		f.Add([]byte(v.Document), p)
	})
	s := fakeStore{"p": {Type: "String", Value: "v"}, "cmds": {Type: "StringList", Value: "a,b"}, "sec": {Type: "SecureString"}}
	f.Fuzz(func(t *testing.T, document, parameters []byte) {
		d, err := Decode(document)
		var supplied map[string]json.RawMessage
		if err != nil || json.Unmarshal(parameters, &supplied) != nil {
			return
		}
		steps, err := d.Resolve(t.Context(), supplied, Options{ValidateAll: len(parameters)%2 == 0, Store: s})
		if err != nil {
			return
		}
		for _, st := range steps {
			if dir, err := Dir(st.Dir); err != nil || dir != st.Dir {
				t.Fatalf("directory %q: %v", st.Dir, err)
			}
		}
		b, err := json.Marshal(steps)
		if err != nil {
			t.Fatal(err)
		}
		var back []Step
		if err := json.Unmarshal(b, &back); err != nil || len(back) != len(steps) {
			t.Fatal(err)
		}
	})
}

func FuzzParseSendCommand(f *testing.F) {
	f.Add([]byte(`{"CommandId":"c-1","DocumentName":"d","DocumentContent":{"a":1},"Parameters":{"p":["x"]},"CloudWatchOutputEnabled":"true"}`))
	f.Add([]byte(`{"CancelMessageId":"aws.ssm.c-1.mi-1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseSendCommand(b); err == nil && !ValidID(c.CommandId) {
			t.Fatal(c)
		}
		if c, err := ParseCancelCommand(b); err == nil {
			if id, err := CommandID(c.CancelMessageId); err != nil || !ValidID(id) {
				t.Fatal(c)
			}
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("out", "err", "a:b/..", 5)
	f.Fuzz(func(t *testing.T, a, b, name string, n int) {
		if n < 0 || n > 20000 || len(a) > 1000 {
			return
		}
		for range n % 100 {
			a += name
		}
		if len(a) > 1<<20 {
			return
		}
		if s := TruncateOutput(a, b); len(s) > MaxOutput {
			t.Fatal(len(s))
		}
		if s := TruncateStream(a); len(s) > MaxStream {
			t.Fatal(len(s))
		}
		PropertyDir(name)
		NameVersion(name)
		ExecutionTimeout(name)
		if c, err := CompareVersions(name, b); err == nil {
			if r, err := CompareVersions(b, name); err != nil || r != -c {
				t.Fatal(c, r, err)
			}
		}
	})
}
