package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"ssmagent/internal/session/destination"
)

// correct applies the stock agent's rule: what is out of range becomes the
// default, not the nearest bound.
func (d *decoder) correct(c *Config) {
	def := Default()
	for _, r := range d.rules {
		v := value(c, r.path)
		switch {
		case !v.IsValid():
		case r.high != 0:
			d.number(r, v, value(&def, r.path))
		case len(r.words) > 0 && v.Kind() == reflect.String:
			d.word(r, v, value(&def, r.path))
		}
	}
	if n := c.Mgs.SessionWorkersLimit; n < 1 {
		d.warn("Mgs.SessionWorkersLimit", "%d is not at least 1; using %d, as the stock agent does", n, sessionWorkersFloor)
		c.Mgs.SessionWorkersLimit = sessionWorkersFloor
	}
	d.lists(c, def)
	d.endpoints(*c)
	d.sessionUser(c.SSMAgent.SessionUser)
	if b := c.SSMAgent.CABundle; b != "" && !filepath.IsAbs(b) {
		d.fail(d.lines["ssmagent.CABundle"], "ssmagent.CABundle", "%q must be an absolute path of a PEM file", b)
	}
}

// sessionUser refuses what the tools that make accounts would take for
// something else.
func (d *decoder) sessionUser(u SessionUser) {
	for _, dir := range []struct{ field, path string }{{"ssmagent.SessionUser.Home", u.Home}, {"ssmagent.SessionUser.Shell", u.Shell}} {
		if dir.path != "" && (!strings.HasPrefix(dir.path, "/") || strings.ContainsFunc(dir.path, func(r rune) bool { return r < ' ' || r == ':' })) {
			d.fail(d.lines[dir.field], dir.field, "%q must be an absolute path without colons", dir.path)
		}
	}
	for _, g := range u.Groups {
		if g == "" || g[0] == '-' || g != strings.TrimSpace(g) || strings.ContainsFunc(g, func(r rune) bool { return r < ' ' || strings.ContainsRune(":,/", r) }) {
			d.fail(d.lines["ssmagent.SessionUser.Groups"], "ssmagent.SessionUser.Groups", "%.64q is no name of a group", g)
		}
	}
}

// sessionWorkersFloor is what the stock agent's processor uses below 1.
const sessionWorkersFloor = 5

// endpoints finds what would be no URL once the agent knows its region.
func (d *decoder) endpoints(c Config) {
	var told []string
	for _, service := range []string{ServiceSSM, ServiceMDS, ServiceMGS, ServiceS3, ServiceKMS, ServiceLogs} {
		_, err := c.Endpoint(service, "us-east-1")
		if err == nil || slices.Contains(told, err.Error()) {
			continue
		}
		told = append(told, err.Error())
		field, _, _ := strings.Cut(err.Error(), " ")
		if field == "region" {
			field = "Mgs.Region"
		}
		d.fail(max(d.lines[field], 1), "", "%v", err)
	}
}

func (d *decoder) number(r rule, v, def reflect.Value) {
	if n := v.Int(); n < int64(r.low) || n > int64(r.high) {
		d.warn(r.path, "%d is not %s; using %d", n, r.span(), def.Int())
		v.SetInt(def.Int())
	}
}

func (d *decoder) word(r rule, v, def reflect.Value) {
	if slices.Contains(r.words, v.String()) {
		return
	}
	// The stock template ships empty words: they are no mistake.
	if w := v.String(); w != "" {
		d.warn(r.path, "%q is none of %s; using %q", abbreviate([]byte(w)), r.span(), def.String())
	}
	v.SetString(def.String())
}

func (d *decoder) lists(c *Config, def Config) {
	known := []string{OnPrem, EC2, ECS, Custom}
	c.Identity.ConsumptionOrder = slices.DeleteFunc(c.Identity.ConsumptionOrder, func(s string) bool {
		bad := !slices.Contains(known, s)
		if bad {
			d.warn("Identity.ConsumptionOrder", "%q is none of %s; dropped", abbreviate([]byte(s)), quoted(known))
		}
		return bad
	})
	if len(c.Identity.ConsumptionOrder) == 0 {
		c.Identity.ConsumptionOrder = def.Identity.ConsumptionOrder
	}
	for i := range c.Identity.CustomIdentities {
		id := &c.Identity.CustomIdentities[i]
		field := fmt.Sprintf("Identity.CustomIdentities[%d].CredentialsProvider", i)
		if id.CredentialsProvider != providerDefault {
			if id.CredentialsProvider != "" {
				d.warn(field, "%q is not %q; using %q", abbreviate([]byte(id.CredentialsProvider)), providerDefault, providerDefault)
			}
			id.CredentialsProvider = providerDefault
		}
	}
	if c.Mgs.DeniedPortForwardingRemoteIPs == nil {
		c.Mgs.DeniedPortForwardingRemoteIPs = def.Mgs.DeniedPortForwardingRemoteIPs
	}
	if _, err := destination.New(c.Mgs.DeniedPortForwardingRemoteIPs); err != nil {
		// An entry that is not understood must not be one that is not there.
		d.fail(d.lines["Mgs.DeniedPortForwardingRemoteIPs"], "Mgs.DeniedPortForwardingRemoteIPs", "%v", err)
	}
}
