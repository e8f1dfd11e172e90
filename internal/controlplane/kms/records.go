package kms

import (
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/kms"
)

// States of a key.
const (
	enabled         = "Enabled"
	disabled        = "Disabled"
	pendingDeletion = "PendingDeletion"
)

// Key is a key without its material.
type Key struct {
	ID          string
	Description string
	State       string
	Created     time.Time
	Deletion    time.Time // when it is PendingDeletion
	Tags        []kms.Tag
	Managed     bool   // by a service of ours: operators use it and leave it as it is
	Policy      string `json:",omitempty"` // empty: whoever this service serves may use it
}

// over says whether the key has been deleted by now.
func (k Key) over(now time.Time) bool {
	return k.State == pendingDeletion && !now.Before(k.Deletion)
}

// alias is a key's name.
type alias struct {
	KeyID            string
	Created, Updated time.Time
}

// Beginnings of the names of aliases, and of those that services of ours have.
const (
	aliasPrefix   = "alias/"
	managedPrefix = "alias/aws/"
)

// Tables of this package. The store's file is its owner's only.
var (
	keys     = store.Table[Key]{Name: "kms-keys"}        // by id
	material = store.Table[[]byte]{Name: "kms-material"} // by id
	aliases  = store.Table[alias]{Name: "kms-aliases"}   // by name, with its prefix
)
