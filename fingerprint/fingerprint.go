// Package fingerprint is the seam for telling whether this still is the machine
// that was registered: the facts of its hardware, how to compare them, and the
// record that is kept of them. Nothing of it but a random UUID leaves the
// machine.
package fingerprint

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Properties that have the stock agent's names and values. The
// first two identify the machine; the one is of Linux, the other of Windows. On
// macOS the first one is there and empty, as the stock agent has it.
const (
	MachineID = "machine-id"
	UUID      = "uuid"
	Hostname  = "hostname-info"
	IPAddress = "ipaddress-info"
	MAC       = "macaddr-info"
)

// Properties of our own. The stock agent hashes what programs print; we hash
// facts read without any, so the names differ from its, and both can stand in
// one record.
const (
	Processor = "ssmagent-processor"
	Memory    = "ssmagent-memory"
	BIOS      = "ssmagent-bios"
	System    = "ssmagent-system"
	Disk      = "ssmagent-disk"
	// Collector tells which version of the rules our own properties follow.
	// It is no property of the machine and counts for nothing.
	Collector = "ssmagent-collector"
	// OtherUUID is what UUID was or will be on the other side of the version of
	// Windows from which the stock agent asks another tool. It counts for nothing.
	OtherUUID = "ssmagent-uuid-other"
)

// Mark says that name is no property of the machine.
func Mark(name string) bool { return name == Collector || name == OtherUUID }

// collectorVersion changes whenever a property of our own would come out
// differently on the same machine.
const collectorVersion = "1"

// Thresholds of similarity, in percent.
const (
	DefaultThreshold = 40
	Disabled         = -1
)

// ErrUnreadable says that the saved record is none.
var ErrUnreadable = errors.New("the fingerprint record is unreadable and is kept as it is; " +
	"restore it from a backup, or forget the registration (-register -clear) and register again")

// Record is what is kept, in the stock agent's form.
type Record struct {
	Fingerprint         string            `json:"fingerprint"`
	HardwareHash        map[string]string `json:"hardwareHash"`
	SimilarityThreshold int               `json:"similarityThreshold"`
}

// Read collects the facts of this machine. It asks no network, and runs no
// programs but, on macOS, ioreg. A fact that cannot be had is the empty string.
func Read(ctx context.Context) (map[string]string, error) {
	facts, err := read(ctx)
	if err == nil {
		err = network(facts)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("read hardware facts: %w", err)
	}
	facts[Collector] = collectorVersion
	return facts, validate(facts)
}

func validate(facts map[string]string) error {
	for k, v := range facts {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("hardware fact %q contains invalid characters", k)
		}
	}
	return nil
}

// ReadStock collects the stock agent's digests as that would, by running its
// tools (a tool that is missing gives the empty string, as there). They are
// for a record that is being made, so that the stock agent finds itself at
// home when it comes back; never needed otherwise.
func ReadStock(ctx context.Context) map[string]string { return readStock(ctx) }

// Digest is how the stock agent notes an output: base64 of the MD5 of all of it.
func Digest(raw []byte) string {
	sum := md5.Sum(raw)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// ValidThreshold says whether an operator may set n.
func ValidThreshold(n int) bool { return n == Disabled || n >= 1 && n <= 100 }

// Load reads a saved record; an empty one is the zero Record.
func Load(saved []byte) (Record, error) {
	var r Record
	if len(saved) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(saved, &r); err != nil {
		return Record{}, fmt.Errorf("%w (%w)", ErrUnreadable, err)
	}
	return r, validate(r.HardwareHash)
}

// Ensure returns the record to go on with, and whether it has to be saved. The
// saved one is kept if current is similar to it (then it is
// changed only to take over the record of the stock agent or of older rules
// of ours). Otherwise a new fingerprint is made, with the old record's
// threshold, or threshold if there was none. An unreadable record is refused.
func Ensure(saved []byte, current map[string]string, threshold int) (Record, bool, error) {
	r, err := Load(saved)
	if err != nil {
		return Record{}, false, err
	}
	if err := validate(current); err != nil {
		return Record{}, false, err
	}
	if r.Fingerprint != "" {
		result := Compare(r.HardwareHash, current, r.SimilarityThreshold)
		if result.Rebase {
			return r.rebase(current), true, nil
		}
		if result.Similar {
			return r, false, nil
		}
		threshold = r.SimilarityThreshold
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return Record{}, false, fmt.Errorf("make a fingerprint: %w", err)
	}
	return Record{id.String(), maps.Clone(current), threshold}, true, nil
}

// rebase notes current in r; digests that only the stock agent can make stay.
func (r Record) rebase(current map[string]string) Record {
	h := maps.Clone(r.HardwareHash)
	if h == nil {
		h = map[string]string{}
	}
	maps.Copy(h, current)
	r.HardwareHash = h
	return r
}

// Fill returns r with those of more that it does not have yet.
func (r Record) Fill(more map[string]string) Record {
	h := maps.Clone(more)
	if h == nil {
		h = map[string]string{}
	}
	maps.Copy(h, r.HardwareHash)
	r.HardwareHash = h
	return r
}
