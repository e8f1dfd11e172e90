package domainjoin

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
)

// join has a program of the test join, and says what it was told.
func join(t *testing.T, dir string, properties map[string]any) (o step.Outcome, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	h := Helper{Region: "eu-west-1", Dir: dir, Env: []string{"PATH=/usr/bin:/bin", "http_proxy=http://p:1", "no_proxy=a,b"}, Start: proc.Start, Clock: clock.Real{}}
	o = h.Run(t.Context(), step.Input{Properties: properties, Stdout: &out, Stderr: &errs})
	return o, out.String(), errs.String()
}

func program(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	proctest.Plant(t, filepath.Join(dir, helperName), []byte("#!/bin/sh\nprintf '<%s>' \"$@\"\n"+script+"\n"))
	return dir
}

func TestHelper(t *testing.T) {
	t.Parallel()
	in := map[string]any{"directoryId": "d-1", "directoryName": "corp.example", "directoryOU": `"OU=a & b,DC=corp"`, "hostName": "web", "keepHostName": true,
		"dnsIpAddresses": []any{"10.0.0.1", "10.0.0.2"}}
	o, stdout, stderr := join(t, program(t, ""), in)
	want := "<--directory-id><d-1><--directory-name><corp.example><--instance-region><eu-west-1><--directory-ou><OU=a & b,DC=corp>" +
		"<--set-hostname><web><--proxy-address><http://p:1><--no-proxy><a,b><--dns-addresses><10.0.0.1><10.0.0.2>Domain join succeeded."
	if o.Status != doc.Success || stdout != want || stderr != "" {
		t.Errorf("%+v %q %q", o, stdout, stderr)
	}
	if o, stdout, _ := join(t, program(t, "echo SuccessAndReboot"), in); o.Status != doc.SuccessAndReboot || strings.Contains(stdout, "succeeded") {
		t.Errorf("%+v %q", o, stdout)
	}
	if o, _, stderr := join(t, program(t, "echo no >&2; exit 4"), in); o.Status != doc.Failed || o.Code != 4 || stderr != "no\nDomain join failed." {
		t.Errorf("%+v %q", o, stderr)
	}
	if o, _, stderr := join(t, t.TempDir(), in); o.Status != doc.Failed || !strings.Contains(stderr, helperName+" is not there: joining a domain is done by a program of AWS") {
		t.Errorf("%+v %q", o, stderr)
	}
}

func TestHelperArguments(t *testing.T) {
	t.Parallel()
	i := inputs{DirectoryID: "d-1", DirectoryName: "c"}
	if args, err := i.helperArguments("r", nil); err != nil || !slices.Equal(args, []string{"--directory-id", "d-1", "--directory-name", "c", "--instance-region", "r"}) {
		t.Errorf("%q %v", args, err)
	}
	for want, bad := range map[string]inputs{
		"are required":                      {DirectoryID: "d-1"},
		"directoryName begins with a dash":  {DirectoryID: "d-1", DirectoryName: "--x"},
		"directoryOU begins with a dash or": {DirectoryID: "d-1", DirectoryName: "c", DirectoryOU: "a\nb"},
		"is not an IP address":              {DirectoryID: "d-1", DirectoryName: "c", DNSAddresses: []string{"--x"}},
	} {
		if args, err := bad.helperArguments("r", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %q %v", bad, args, err)
		}
	}
}
