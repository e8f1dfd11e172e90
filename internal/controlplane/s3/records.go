package s3

import (
	"time"

	"ssmagent/internal/controlplane/store"
)

// bucket is a bucket as it is kept.
type bucket struct {
	Created time.Time
	Region  string
}

// object is an object as it is kept.
type object struct {
	Size     int64
	ETag     string // without quotes
	Modified time.Time
	Meta     map[string]string `json:",omitempty"` // headers to answer with
	Sums     map[string]string `json:",omitempty"` // checksums by algorithm
	SumType  string            `json:",omitempty"`
	Blob     string            `json:",omitempty"` // its file
	Pieces   string            `json:",omitempty"` // or the key of its row of files
}

// piece is a file of an object in parts.
type piece struct {
	Blob string
	Size int64
}

// upload is an upload in parts that has not been completed.
type upload struct {
	Bucket, Key string
	Started     time.Time
	Meta        map[string]string `json:",omitempty"`
	Algorithm   string            `json:",omitempty"` // of checksums
	SumType     string            `json:",omitempty"`
}

// part is a part of an upload.
type part struct {
	Number   int
	Blob     string
	Size     int64
	ETag     string
	Modified time.Time
	Sums     map[string]string `json:",omitempty"`
}

// The tables. Objects are under bucket, NUL, key; uploads and their parts
// under the upload's id, parts with NUL and five digits behind.
var (
	buckets = store.Table[bucket]{Name: "s3_buckets"}
	objects = store.Table[object]{Name: "s3_objects"}
	rows    = store.Table[[]piece]{Name: "s3_pieces"}
	uploads = store.Table[upload]{Name: "s3_uploads"}
	parts   = store.Table[part]{Name: "s3_parts"}
)

func objectKey(bucket, key string) string { return bucket + "\x00" + key }

// bucket returns a bucket and whether it is there.
func (s *Service) bucket(name string) (b bucket, ok bool, err error) {
	err = s.opt.DB.View(func(tx *store.Tx) error {
		b, ok, err = buckets.Get(tx, name)
		return err
	})
	return b, ok, err
}

// needBucket is the bucket, or the refusal that there is none.
func needBucket(tx *store.Tx, name string) (bucket, error) {
	b, ok, err := buckets.Get(tx, name)
	if err == nil && !ok {
		err = refusal("NoSuchBucket", 404, "The specified bucket does not exist")
	}
	return b, err
}

// pieces are the files of an object, in order.
func (o object) pieces(tx *store.Tx) ([]piece, error) {
	if o.Pieces == "" {
		if o.Blob == "" {
			return nil, nil
		}
		return []piece{{o.Blob, o.Size}}, nil
	}
	row, _, err := rows.Get(tx, o.Pieces)
	return row, err
}

// drop forgets an object and returns the files to remove once that is durable.
func drop(tx *store.Tx, key string, o object) ([]string, error) {
	row, err := o.pieces(tx)
	if err != nil {
		return nil, err
	}
	if o.Pieces != "" {
		if err := rows.Delete(tx, o.Pieces); err != nil {
			return nil, err
		}
	}
	return blobsOf(row), objects.Delete(tx, key)
}

func blobsOf(row []piece) []string {
	names := make([]string, len(row))
	for i, p := range row {
		names[i] = p.Blob
	}
	return names
}

// sweep removes the files that belong to nothing: a crash may come between a
// file and its record, in either order.
func (s *Service) sweep() error {
	kept := map[string]bool{}
	err := s.opt.DB.View(func(tx *store.Tx) error {
		err := objects.Scan(tx, "", "", func(_ string, o object) (bool, error) {
			kept[o.Blob] = true
			return true, nil
		})
		if err == nil {
			err = rows.Scan(tx, "", "", func(_ string, row []piece) (bool, error) {
				for _, p := range row {
					kept[p.Blob] = true
				}
				return true, nil
			})
		}
		if err == nil {
			err = parts.Scan(tx, "", "", func(_ string, p part) (bool, error) {
				kept[p.Blob] = true
				return true, nil
			})
		}
		return err
	})
	if err != nil {
		return err
	}
	var stray []string
	if err := s.blobs.names(func(name string) {
		if !kept[name] {
			stray = append(stray, name)
		}
	}); err != nil {
		return err
	}
	if len(stray) > 0 {
		s.opt.Log.Info("removed files that belong to no object", "count", len(stray))
	}
	s.blobs.remove(stray)
	return nil
}
