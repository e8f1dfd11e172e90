// Package documents is the control plane's document store: versions, the
// default version, and the AWS-owned documents, which are ours by the word.
package documents

import (
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Document is a named document with all its versions. Its default version is
// a number; versions are never renumbered.
type Document struct {
	Name        string
	Owner       string // the account, or "Amazon"
	Type        string // Command, Session, Package …
	TargetType  string
	Created     time.Time
	Default     int
	Latest      int
	Versions    []Version
	Tags        []ssm.Tag
	DisplayName string
}

// Version is one version of a document.
type Version struct {
	Number        int
	VersionName   string
	Format        string // JSON, YAML, TEXT
	Content       string // as given
	Hash          string // hex SHA-256 of Content
	Created       time.Time
	SchemaVersion string
	Description   string
	PlatformTypes []string // "Linux", "Windows", "MacOS"
	Status        string   // Active
}

// Table holds operators' documents by name; AWS-owned ones are code.
var Table = store.Table[Document]{Name: "documents"}
