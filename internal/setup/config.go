package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"

	"ssmagent/internal/config"
	"ssmagent/internal/fsys"
)

// onPremises has the agent be the registered node and nothing else, also on a
// machine of EC2. It replaces the section Identity of the configuration, as the
// stock tool does, and leaves all others as they are.
func (r run) onPremises() error {
	b, err := fsys.ReadFile(r.FS, r.ConfigFile, config.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = []byte("{}"), fsys.MkdirAll(r.FS, filepath.Dir(r.ConfigFile), 0o755)
	}
	if err != nil {
		return fmt.Errorf("the agent is installed, but its configuration cannot be changed: %w", err)
	}
	text, err := withIdentity(b)
	if err != nil {
		return fmt.Errorf("the agent is installed, but its configuration %s cannot be changed: %w; mend it and run this again", r.ConfigFile, err)
	}
	if err := fsys.WriteFile(r.FS, r.ConfigFile, text, 0o600); err != nil {
		return fmt.Errorf("the agent is installed, but its configuration cannot be changed: %w", err)
	}
	return nil
}

// withIdentity is a configuration with OnPrem as the only identity.
func withIdentity(b []byte) ([]byte, error) {
	sections := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &sections); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	if sections == nil { // it was null
		sections = map[string]json.RawMessage{}
	}
	maps.DeleteFunc(sections, func(name string, _ json.RawMessage) bool { return strings.EqualFold(name, "Identity") })
	sections["Identity"] = json.RawMessage(`{"ConsumptionOrder":["OnPrem"],"CustomIdentities":null,"Ec2SystemInfoDetectionResponse":""}`)
	text, err := json.MarshalIndent(sections, "", "    ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
