package s3

import (
	"encoding/xml"
	"net/http"

	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/s3"
)

type bucketList struct {
	XMLName   xml.Name `xml:"ListAllMyBucketsResult"`
	Namespace string   `xml:"xmlns,attr"`
	Owner     owner
	Buckets   []bucketEntry `xml:"Buckets>Bucket"`
}

type owner struct{ ID, DisplayName string }

type bucketEntry struct {
	Name         string
	CreationDate string
	BucketRegion string
}

func (c *call) listBuckets() error {
	out := bucketList{Namespace: wire.Namespace, Owner: c.owner()}
	err := c.s.opt.DB.View(func(tx *store.Tx) error {
		return buckets.Scan(tx, "", "", func(name string, b bucket) (bool, error) {
			out.Buckets = append(out.Buckets, bucketEntry{name, isoTime(b.Created), b.Region})
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, out)
	return nil
}

func (c *call) owner() owner { return owner{c.Caller.Account, c.Caller.Account} }

// createBucket makes a bucket in the region that is asked for, else in that of
// the signature: the caller's calls are signed for it.
func (c *call) createBucket() error {
	var in struct {
		XMLName  xml.Name `xml:"CreateBucketConfiguration"`
		Location string   `xml:"LocationConstraint"`
	}
	if c.ContentLength != 0 {
		if err := c.decode(&in); err != nil {
			return err
		}
	}
	if in.Location == "" {
		in.Location = c.Caller.Region
	}
	if len(in.Location) > 64 {
		return refusal("InvalidLocationConstraint", 400, "The specified location-constraint is not valid")
	}
	err := c.s.opt.DB.Update(func(tx *store.Tx) error {
		_, ok, err := buckets.Get(tx, c.bucket)
		if err == nil && ok {
			err = refusal("BucketAlreadyOwnedByYou", http.StatusConflict, "Your previous request to create the named bucket succeeded and you already own it.")
		}
		if err != nil {
			return err
		}
		return buckets.Put(tx, c.bucket, bucket{Created: c.s.opt.Clock.Now().UTC(), Region: in.Location})
	})
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/"+c.bucket)
	c.answer(http.StatusOK, nil)
	return nil
}

func (c *call) headBucket() error {
	b, err := c.needBucket()
	if err != nil {
		return err
	}
	c.w.Header().Set(headerRegion, b.Region)
	c.answer(http.StatusOK, nil)
	return nil
}

// needBucket is the bucket that is asked for, or the refusal.
func (c *call) needBucket() (b bucket, err error) {
	err = c.s.opt.DB.View(func(tx *store.Tx) error {
		b, err = needBucket(tx, c.bucket)
		return err
	})
	return b, err
}

// deleteBucket removes an empty bucket and its uploads that nobody completed.
func (c *call) deleteBucket() error {
	var stray []string
	err := c.s.opt.DB.Update(func(tx *store.Tx) error {
		stray = nil
		if _, err := needBucket(tx, c.bucket); err != nil {
			return err
		}
		err := objects.Scan(tx, c.bucket+"\x00", "", func(string, object) (bool, error) {
			return false, refusal("BucketNotEmpty", http.StatusConflict, "The bucket you tried to delete is not empty")
		})
		if err != nil {
			return err
		}
		var ids []string
		err = uploads.Scan(tx, "", "", func(id string, u upload) (bool, error) {
			if u.Bucket == c.bucket {
				ids = append(ids, id)
			}
			return true, nil
		})
		for _, id := range ids {
			if err != nil {
				return err
			}
			var names []string
			names, err = dropUpload(tx, id)
			stray = append(stray, names...)
		}
		if err != nil {
			return err
		}
		return buckets.Delete(tx, c.bucket)
	})
	if err != nil {
		return err
	}
	c.s.blobs.remove(stray)
	c.answer(http.StatusNoContent, nil)
	return nil
}

func (c *call) bucketLocation() error {
	b, err := c.needBucket()
	if err != nil {
		return err
	}
	out := struct {
		XMLName   xml.Name `xml:"LocationConstraint"`
		Namespace string   `xml:"xmlns,attr"`
		Region    string   `xml:",chardata"`
	}{Namespace: wire.Namespace, Region: b.Region}
	if out.Region == "us-east-1" {
		out.Region = "" // as S3 names its oldest region
	}
	c.answer(http.StatusOK, out)
	return nil
}

// bucketEncryption tells that objects are encrypted: all are, always.
func (c *call) bucketEncryption() error {
	if _, err := c.needBucket(); err != nil {
		return err
	}
	c.answer(http.StatusOK, wire.Encryption{Namespace: wire.Namespace, Rules: []wire.EncryptionRule{{Algorithm: wire.AES256}}})
	return nil
}

// bucketVersioning tells that there are no versions.
func (c *call) bucketVersioning() error {
	if _, err := c.needBucket(); err != nil {
		return err
	}
	c.answer(http.StatusOK, struct {
		XMLName   xml.Name `xml:"VersioningConfiguration"`
		Namespace string   `xml:"xmlns,attr"`
	}{Namespace: wire.Namespace})
	return nil
}
