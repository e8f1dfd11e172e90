package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// migrations bring a store from schema i to i+1, each in one transaction with
// the version it reaches. Never change one that was released; append.
var migrations = []func(*bolt.Tx) error{
	// 0 → 1: the first schema. Tables are made when first written.
	func(*bolt.Tx) error { return nil },
}

var metaBucket, versionKey = []byte("meta"), []byte("schema")

// migrate applies the steps that b lacks.
func migrate(b *bolt.DB, steps []func(*bolt.Tx) error) error {
	for {
		done := false
		err := b.Update(func(tx *bolt.Tx) error {
			meta, err := tx.CreateBucketIfNotExists(metaBucket)
			if err != nil {
				return err
			}
			var v uint64
			if raw := meta.Get(versionKey); len(raw) == 8 {
				v = binary.BigEndian.Uint64(raw)
			}
			if v > uint64(len(steps)) {
				return fmt.Errorf("schema %d is newer than this program's %d: use the newer ssm-local or another data directory", v, len(steps))
			}
			if done = v == uint64(len(steps)); done {
				return nil
			}
			if err := steps[v](tx); err != nil {
				return fmt.Errorf("migrate schema %d to %d: %w", v, v+1, err)
			}
			return meta.Put(versionKey, binary.BigEndian.AppendUint64(nil, v+1))
		})
		if err != nil || done {
			return err
		}
	}
}
