package kms

import (
	"strings"
	"testing"

	"ssmagent/internal/controlplane/api"
)

const (
	keyARN  = "arn:aws:kms:us-east-1:000000000000:key/" + testKey
	nodeARN = "arn:aws:sts::000000000000:assumed-role/ssm-node/mi-0123456789abcdef0"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	s := New(Options{Region: "us-east-1", Account: "000000000000"})
	person := api.Caller{Kind: api.Operator, ARN: "arn:aws:iam::000000000000:user/ada", Account: "000000000000"}
	node := api.Caller{Kind: api.Node, ARN: nodeARN, Account: "000000000000"}
	const everybody = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"}`
	for name, tc := range map[string]struct {
		statements string
		person     string // of "Decrypt": empty, or what the refusal says
		node       string
	}{
		"everybody":          {everybody, "", ""},
		"the node is denied": {everybody + `,{"Sid":"no","Effect":"Deny","Principal":{"AWS":["` + nodeARN + `"]},"Action":["kms:decrypt"],"Resource":"*"}`, "", "with an explicit deny"},
		"its role is denied": {everybody + `,{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:role/ssm-node"},"Action":"kms:D?c*","Resource":["` + keyARN + `"]}`, "", "with an explicit deny"},
		"another action":     {everybody + `,{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`, "", ""},
		"only the person":    {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/ada"},"Action":"*","Resource":"*"}`, "", "no resource-based policy allows the kms:Decrypt"},
		"another account":    {`{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"*","Resource":"*"}`, "no resource-based policy", "no resource-based policy"},
	} {
		k := Key{ID: testKey, Policy: `{"Version":"2012-10-17","Statement":[` + tc.statements + `]}`}
		if _, err := parsePolicy(k.Policy, keyARN); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for want, c := range map[*string]api.Caller{&tc.person: person, &tc.node: node} {
			err := s.lets(c, k, "Decrypt")
			if (err == nil) != (*want == "") || err != nil && (api.ErrorOf(err).Code != api.CodeAccessDenied || !strings.Contains(err.Error(), *want)) {
				t.Errorf("%s: %s: %v, want %q", name, c.ARN, err, *want)
			}
		}
	}
	if err := s.lets(node, Key{ID: testKey}, "Decrypt"); err != nil {
		t.Error(err)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}`, "Decrypt")
	for text, says := range map[string]string{
		`{"Statement":[]}`: "0 statements", `{`: "no JSON", `{"Statement":[{"Effect":"Maybe"}]}`: "Effect",
		`{"Statement":{"Effect":"Deny","Principal":{"Service":"s3.amazonaws.com"},"Action":"*","Resource":"*"}}`:                  "Principal names nobody",
		`{"Statement":{"Effect":"Deny","Principal":"*","Resource":"*"}}`:                                                          "Action is missing",
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"kms:[a]","Resource":"*"}}`:                                       "Action is",
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"*"}}`:                                                            "Resource is missing",
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:other"}}`:                                     "Resource is",
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"kms:ViaService":"x"}}}}`: `unknown field "Condition"`,
	} {
		f.Add(text, "Encrypt")
		if _, err := parsePolicy(text, keyARN); err == nil || !strings.Contains(err.Error(), says) || api.ErrorOf(err).Code != "MalformedPolicyDocumentException" {
			f.Errorf("%s: %v, want %q", text, err, says)
		}
	}
	if _, err := parsePolicy(strings.Repeat(" ", maxPolicy+1), keyARN); api.ErrorOf(err).Code != "LimitExceededException" {
		f.Error(err)
	}
	s := New(Options{Region: "us-east-1", Account: "000000000000"})
	f.Fuzz(func(t *testing.T, text, action string) {
		_, err := parsePolicy(text, keyARN)
		if err != nil && api.ErrorOf(err).Code == api.CodeInternal {
			t.Errorf("%q: %v", text, err)
		}
		if lets := s.lets(api.Caller{ARN: nodeARN, Account: "000000000000"}, Key{ID: testKey, Policy: text}, action); text != "" && err != nil && lets == nil {
			t.Errorf("%q lets somebody in", text)
		}
	})
}
