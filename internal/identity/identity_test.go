package identity

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/config"
	"ssmagent/internal/secret"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/vault"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	key, err := sigv4.EncodePrivateKey(pool()[0])
	if err != nil {
		t.Fatal(err)
	}
	rec := func(change func(*registration)) string {
		r := registration{InstanceID: nodeID, Region: "eu-west-1", PrivateKey: secret.Text(key), PrivateKeyType: "Rsa"}
		change(&r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	whole := rec(func(*registration) {})
	custom := []config.CustomIdentity{{Region: "eu-west-1"}, {InstanceID: "ecs:c_t_c", Region: "eu-west-2"}}
	for name, tc := range map[string]struct {
		record string
		custom []config.CustomIdentity
		order  []string
		want   Identity
		says   string
	}{
		"registered":          {whole, custom, nil, Identity{nodeID, "eu-west-1", config.OnPrem}, ""},
		"order":               {whole, custom, []string{config.Custom, config.OnPrem}, Identity{"ecs:c_t_c", "eu-west-2", config.Custom}, ""},
		"cleared":             {rec(func(r *registration) { r.InstanceID, r.Region = "", "" }), nil, nil, Identity{}, "-register -code"},
		"cleared, custom":     {rec(func(r *registration) { r.InstanceID, r.Region, r.PrivateKey = "", "", "" }), custom, nil, Identity{"ecs:c_t_c", "eu-west-2", config.Custom}, ""},
		"nobody":              {"", nil, nil, Identity{}, "failed to find agent identity (OnPrem: this machine is not registered; EC2: it cannot be asked here"},
		"no region":           {rec(func(r *registration) { r.Region = "" }), custom, nil, Identity{}, "is damaged"},
		"no id":               {rec(func(r *registration) { r.InstanceID = "" }), custom, nil, Identity{}, "is damaged"},
		"key is gone":         {rec(func(r *registration) { r.PrivateKey = "" }), custom, nil, Identity{}, "no private key"},
		"not JSON":            {"{", custom, nil, Identity{}, "the registration is damaged: it is not JSON; register the machine again"},
		"no key":              {rec(func(r *registration) { r.PrivateKey = "AAAA" }), custom, nil, Identity{}, "register the machine again"},
		"key type":            {rec(func(r *registration) { r.PrivateKeyType = "Ecdsa" }), custom, nil, Identity{}, "of type"},
		"id becomes a path":   {rec(func(r *registration) { r.InstanceID = "../../etc" }), custom, nil, Identity{}, "not an instance id"},
		"region":              {rec(func(r *registration) { r.Region = "evil.test/" }), custom, nil, Identity{}, "not a region"},
		"custom id as a path": {"", []config.CustomIdentity{{InstanceID: "..", Region: "r"}}, nil, Identity{}, "not an instance id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vault.New(newDisk(t), data)
			if tc.record != "" {
				if err := v.Put(vault.RegistrationKey, []byte(tc.record)); err != nil {
					t.Fatal(err)
				}
			}
			cfg := config.Default()
			cfg.Identity.CustomIdentities = tc.custom
			if tc.order != nil {
				cfg.Identity.ConsumptionOrder = tc.order
			}
			id, key, err := Resolve(t.Context(), cfg, v, Cloud{})
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%+v, %v", id, err)
			}
			if err == nil && (id != tc.want || (key != nil) != (id.Type == config.OnPrem)) {
				t.Errorf("%+v, key %v", id, key != nil)
			}
			if err != nil && strings.Contains(tc.says, "find agent") != errors.Is(err, ErrNone) && name != "cleared" {
				t.Errorf("%v is ErrNone: %v", err, errors.Is(err, ErrNone))
			}
		})
	}
	cfg := config.Default()
	cfg.Agent.ContainerMode = true
	if _, _, err := Resolve(t.Context(), cfg, vault.New(newDisk(t), data), Cloud{}); err == nil || !strings.Contains(err.Error(), "ECS: it cannot be asked here") {
		t.Errorf("container mode: %v", err)
	}
}

func TestKeyAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]int{
		"":                              unknownAge,
		"yesterday":                     unknownAge,
		"2026-11-22 11:00:00 +0000 UTC": 0,
		"2026-11-20 11:59:59.123456789 +0000 UTC":     2,
		"2026-11-20 13:59:59 +0200 CEST":              2,
		"2026-11-20 12:00:00.5 -0300 -03":             1,
		"2027-01-01 00:00:00 +0000 UTC m=+0.00000001": unknownAge,
	} {
		if got := (registration{PrivateKeyCreatedDate: text}).keyAge(now); got != want {
			t.Errorf("%q: %d days, want %d", text, got, want)
		}
	}
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"instanceID":"mi-0a1b2c3d4e5f60718","region":"eu-west-1","instanceType":"","availabilityZone":"","privateKey":"AAAA","publicKey":"","privateKeyType":"Rsa","privateKeyCreatedDate":"2025-03-14 09:26:53.5 +0000 UTC"}`))
	f.Add([]byte(`{"instanceID":"../x","region":"r","privateKey":"x"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseRegistration(raw)
		if err != nil || r.InstanceID == "" {
			return
		}
		if strings.ContainsAny(r.InstanceID, `/\`) || strings.HasPrefix(r.InstanceID, ".") || strings.ContainsAny(r.Region, "./:") {
			t.Fatalf("came through: %+v", r)
		}
		if key, err := r.key(); err == nil && key.N.BitLen() < 2048 {
			t.Fatalf("a key of %d bits", key.N.BitLen())
		}
		r.keyAge(time.Unix(0, 0))
	})
}
