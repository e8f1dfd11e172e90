// Package wix_test holds the description of the MSI to what the programs call
// the same things.
package wix_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssmagent/platform"
	"ssmagent/service"
)

// element is one of agent.wxs, without what is below it.
type element map[string]string

// elements are all of agent.wxs, by their names.
func elements(t *testing.T) map[string][]element {
	t.Helper()
	f, err := os.Open("agent.wxs")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string][]element{}
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			e := element{}
			for _, a := range start.Attr {
				e[a.Name.Local] = a.Value
			}
			all[start.Name.Local] = append(all[start.Name.Local], e)
		}
	}
}

// TestServiceNames: the service that the MSI installs is the one that the
// program runs as and that its words manage.
func TestServiceNames(t *testing.T) {
	t.Parallel()
	all, o := elements(t), service.Default()
	install, control := all["ServiceInstall"], all["ServiceControl"]
	if len(install) != 1 || len(control) != 1 {
		t.Fatalf("services %v, %v", install, control)
	}
	for attribute, want := range map[string]string{"Name": o.Name, "DisplayName": o.DisplayName, "Description": o.Description, "Arguments": strings.Join(o.Arguments, " ")} {
		if got := install[0][attribute]; got != want {
			t.Errorf("ServiceInstall: %s %q, the service's is %q", attribute, got, want)
		}
	}
	if got := control[0]["Name"]; got != o.Name {
		t.Errorf("ServiceControl: %q, the service is %q", got, o.Name)
	}
	for _, key := range slices.Concat(all["RegistryValue"], all["RegistrySearch"]) {
		if of, ok := strings.CutPrefix(key["Key"], `SYSTEM\CurrentControlSet\Services\`); ok && filepath.Base(of) != o.Name {
			t.Errorf("key %s is not the service's, which is %q", key["Key"], o.Name)
		}
	}
}

// TestPaths: the MSI puts files where the programs look for them.
func TestPaths(t *testing.T) {
	t.Parallel()
	all := elements(t)
	var names []string
	for _, d := range all["Directory"] {
		names = append(names, d["Name"])
	}
	config := platform.DefaultPaths().ConfigFile
	if want := []string{"SourceDir", "", "Amazon", "SSM"}; !slices.Equal(names, want) || !strings.HasSuffix(filepath.Dir(config), filepath.Join(names[2:]...)) {
		t.Errorf("folders %q; the configuration is %s", names, config)
	}
	var files []string
	for _, f := range all["File"] {
		files = append(files, f["Name"])
	}
	if template := filepath.Base(config) + ".template"; !slices.Contains(files, template) || slices.Contains(files, filepath.Base(config)) {
		t.Errorf("files %q: %s belongs to them, and %s does not", files, template, filepath.Base(config))
	}
	for _, a := range all["CustomAction"] {
		if a["FileKey"] != all["File"][0]["Id"] || all["File"][0]["Name"] != "amazon-ssm-agent.exe" || a["Return"] != "check" {
			t.Errorf("action %v does not run the agent, or takes a failure for a success", a)
		}
	}
}
