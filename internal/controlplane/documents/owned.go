package documents

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"
)

// Amazon owns the documents that are part of the service.
const Amazon = "Amazon"

//go:embed owned/*.json
var ownedFiles embed.FS

type owned struct {
	Document
	version Version
}

// ownedDocuments are the AWS-owned documents by name, written by us after
// their public parameters and steps.
func ownedDocuments() (map[string]owned, error) {
	files, err := ownedFiles.ReadDir("owned")
	if err != nil {
		return nil, fmt.Errorf("documents of AWS: %w", err)
	}
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	all := map[string]owned{}
	for _, f := range files {
		content, err := ownedFiles.ReadFile(path.Join("owned", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("documents of AWS: %w", err)
		}
		name := strings.TrimSuffix(f.Name(), ".json")
		kind := kindOf(content)
		v, err := newVersion(kind, "JSON", string(content))
		if err != nil {
			return nil, fmt.Errorf("document %s: %w", name, err)
		}
		v.Number, v.Created = 1, created
		all[name] = owned{
			Document: Document{Name: name, Owner: Amazon, Type: kind, Created: created, Default: 1, Latest: 1, Last: 1},
			version:  v,
		}
	}
	return all, nil
}

// kindOf is the type of a document of ours, which its content tells.
func kindOf(content []byte) string {
	var s session
	if json.Unmarshal(content, &s) == nil && s.SessionType != "" {
		return "Session"
	}
	return "Command"
}
