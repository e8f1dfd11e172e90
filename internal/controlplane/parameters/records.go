// Package parameters is the control plane's Parameter Store: parameters, their
// versions and the labels of these. SecureStrings are sealed by the key service
// and are opened for whoever asks for them with decryption.
package parameters

import (
	"fmt"
	"slices"
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Tiers of parameters.
const (
	standard    = "Standard"
	advanced    = "Advanced"
	intelligent = "Intelligent-Tiering" // asked for only
)

// Parameter is a name with versions, which have their own table.
type Parameter struct {
	Name   string
	Tags   []ssm.Tag
	Oldest int // the lowest version that is kept
	Latest int
}

// Version is one version of a parameter.
type Version struct {
	Number         int
	Type           string
	Value          string // of a SecureString: its ciphertext in base64
	KeyID          string // of a SecureString, as it was given
	Description    string
	AllowedPattern string
	Tier           string
	DataType       string
	Modified       time.Time
	User           string // ARN of who wrote it
	Labels         []string
}

func (v Version) has(label string) bool { return slices.Contains(v.Labels, label) }

// Tables of this package.
var (
	table    = store.Table[Parameter]{Name: "parameters"}       // by name
	versions = store.Table[Version]{Name: "parameter-versions"} // by name, colon, number
	counts   = store.Table[int]{Name: "parameter-counts"}       // of parameters, by tier
)

// versionKey orders a parameter's versions by number; names have no colon.
func versionKey(name string, number int) string { return fmt.Sprintf("%s:%09d", name, number) }

// latest returns the newest version of a parameter that is there.
func latest(tx *store.Tx, p Parameter) (Version, error) {
	v, ok, err := versions.Get(tx, versionKey(p.Name, p.Latest))
	if err == nil && !ok {
		err = fmt.Errorf("version %d of parameter %s is missing from the store", p.Latest, p.Name)
	}
	return v, err
}

// all are a parameter's versions, the oldest first.
func all(tx *store.Tx, p Parameter) (list []Version, err error) {
	err = versions.Scan(tx, p.Name+":", "", func(_ string, v Version) (bool, error) {
		list = append(list, v)
		return true, nil
	})
	return list, err
}

// count changes how many parameters of a tier there are.
func count(tx *store.Tx, tier string, by int) error {
	n, _, err := counts.Get(tx, tier)
	if err != nil {
		return err
	}
	return counts.Put(tx, tier, n+by)
}
