// Package documents is the control plane's document store: versions, the
// default version, and the AWS-owned documents, which are ours by the word.
package documents

import (
	"fmt"
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Document is a named document; its versions are in their own table.
type Document struct {
	Name        string
	Owner       string // the account, or "Amazon"
	Type        string // Command, Session, Package
	TargetType  string
	Created     time.Time
	Default     int
	Latest      int // the highest version that is there
	Last        int // the highest number ever given: none is given twice
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
	Parameters    []ssm.DocumentParameter

	// Of packages: what the manifest says, and its files.
	PackageVersion string       `json:",omitempty"`
	PackageARN     string       `json:",omitempty"`
	Attachments    []Attachment `json:",omitempty"`
}

// Tables of this package; AWS-owned documents are code.
var (
	Table    = store.Table[Document]{Name: "documents"}        // by name
	Versions = store.Table[Version]{Name: "document-versions"} // by name, slash, number
)

// versionKey orders a document's versions by number; names have no slash.
func versionKey(name string, number int) string { return fmt.Sprintf("%s/%09d", name, number) }
