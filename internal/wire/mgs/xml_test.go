package mgs

import (
	"encoding/xml"
	"strings"
	"testing"
)

func TestChannelResponse(t *testing.T) {
	t.Parallel()
	const want = `<CreateControlChannelResponse><MessageSchemaVersion>1.0</MessageSchemaVersion>` +
		`<TokenValue>tok-8f14e45f</TokenValue></CreateControlChannelResponse>`
	b, err := CreateChannelResponse{MessageSchemaVersion: SchemaVersion, TokenValue: "tok-8f14e45f"}.Encode(RootCreateControlChannel)
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	for name, in := range map[string]string{
		"ours":       want,
		"other root": `<X><TokenValue>tok-8f14e45f</TokenValue></X>`,
		"namespaces": `<?xml version="1.0"?><a:R xmlns:a="u:1" xmlns="u:2"><Other><Deep/></Other><TokenValue>tok-8f14e45f</TokenValue></a:R>`,
	} {
		if r, err := DecodeCreateChannelResponse([]byte(in)); err != nil || r.TokenValue != "tok-8f14e45f" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for name, in := range map[string]string{
		"empty": "", "JSON": `{"TokenValue":"t"}`, "no token": "<R><MessageSchemaVersion>1.0</MessageSchemaVersion></R>",
		"empty token": "<R><TokenValue/></R>", "cut": want[:40], "entity": `<!DOCTYPE r [<!ENTITY e "x">]><R><TokenValue>&e;</TokenValue></R>`,
		"large": "<R><TokenValue>" + strings.Repeat("t", maxXML) + "</TokenValue></R>",
	} {
		if r, err := DecodeCreateChannelResponse([]byte(in)); err == nil {
			t.Errorf("%s was taken: %+v", name, r)
		}
	}
	if _, err := (CreateChannelResponse{}).Encode(RootCreateDataChannel); err == nil {
		t.Error("an answer without token was encoded")
	}
	if _, err := (CreateChannelResponse{TokenValue: "t"}).Encode("a><b"); err == nil {
		t.Error("a root that is no name was encoded")
	}
}

func TestErrorResponse(t *testing.T) {
	t.Parallel()
	b, err := EncodeError(CodeAccessDenied, "node mi-0 is <gone>")
	const want = `<AccessDeniedException><Message>node mi-0 is &lt;gone&gt;</Message></AccessDeniedException>`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if !IsAccessDenied(b) || IsTerminated(b) {
		t.Error("the refusal is not recognised")
	}
	r, err := DecodeError(b)
	if err != nil || r.XMLName.Local != CodeAccessDenied || r.Message != "node mi-0 is <gone>" {
		t.Errorf("%+v, %v", r, err)
	}
	if b, err = EncodeError("InvalidRequest", TextTerminated); err != nil || IsAccessDenied(b) || !IsTerminated(b) {
		t.Errorf("%s, %v", b, err)
	}
	for _, code := range []string{"", "A B", "Ä", strings.Repeat("a", 129)} {
		if _, err := EncodeError(code, ""); err == nil {
			t.Errorf("code %q was encoded", code)
		}
	}
	if _, err := DecodeError([]byte("502 Bad Gateway")); err == nil {
		t.Error("plain text was taken")
	}
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<CreateControlChannelResponse><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>t</TokenValue></CreateControlChannelResponse>`))
	f.Add([]byte(`<AccessDeniedException><Message>m</Message></AccessDeniedException>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeCreateChannelResponse(b); err == nil {
			r.XMLName = xml.Name{}
			out, err := r.Encode(RootCreateDataChannel)
			if err != nil {
				t.Fatalf("%+v was read but cannot be written: %v", r, err)
			}
			if again, err := DecodeCreateChannelResponse(out); err != nil || again.TokenValue != r.TokenValue {
				t.Fatalf("token %q became %q, %v", r.TokenValue, again.TokenValue, err)
			}
		}
		_, _ = DecodeError(b)
	})
}
