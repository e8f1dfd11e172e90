package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrDamaged says that a value is no longer what was stored. It is kept as it is.
var ErrDamaged = errors.New("is damaged and is kept as it is; restore it from a backup")

// sumMember is the last member of a JSON object in the vault: the SHA-256 of
// the object without it. The stock agent passes over a member that it does not
// know, and drops it when it writes the record: what has none is taken as it is.
const sumMember = `"ssmagentSHA256":"`

// withSum is value with its sum. What is no JSON object has none.
func withSum(value []byte) []byte {
	object := bytes.TrimSpace(value)
	if len(object) < 2 || object[0] != '{' || !json.Valid(object) {
		return value
	}
	sum := sha256.Sum256(object)
	open := bytes.TrimSpace(object[:len(object)-1])
	out := bytes.Clone(open)
	if len(open) > 1 {
		out = append(out, ',')
	}
	out = append(out, sumMember...)
	return append(hex.AppendEncode(out, sum[:]), `"}`...)
}

// withoutSum undoes withSum, and says whether there was a sum.
func withoutSum(raw []byte) (value []byte, had bool, err error) {
	at := bytes.LastIndex(raw, []byte(sumMember))
	if at < 0 {
		return raw, false, nil
	}
	value = append(bytes.TrimSuffix(bytes.Clone(raw[:at]), []byte(",")), '}')
	if !bytes.Equal(withSum(value), bytes.TrimSpace(raw)) {
		return nil, true, fmt.Errorf("it %w (its checksum is another)", ErrDamaged)
	}
	return value, true, nil
}
