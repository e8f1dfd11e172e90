package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sort"
)

// PageRequest is how a list operation was asked for a page.
type PageRequest struct {
	Op      string // the operation: a token is good for one only
	Filters any    // all that chooses records; a token is good for the same only
	Token   string // NextToken, "" for the first page
	Max     int    // MaxResults; 0 means Default
	Default int
}

const tokenSum = 12

// Page returns the page of items that the request asks for and the token of
// the next, "" at the end. Items are in ascending order of key, keys are
// unique; records that come or go between two pages neither repeat others nor
// hide them. A token that this operation with these filters did not give is
// InvalidNextToken.
func Page[T any](p PageRequest, items []T, key func(T) string) ([]T, string, error) {
	if p.Token != "" {
		after, err := p.cursor()
		if err != nil {
			return nil, "", err
		}
		items = items[sort.Search(len(items), func(i int) bool { return key(items[i]) > after }):]
	}
	n := p.Max
	if n <= 0 {
		n = p.Default
	}
	if n <= 0 || len(items) <= n {
		return append([]T{}, items...), "", nil
	}
	return append([]T{}, items[:n]...), p.token(key(items[n-1])), nil
}

// sum binds a cursor to the operation and its filters. It is no secret: a
// forged cursor shows its forger nothing that the list would not.
func (p PageRequest) sum(cursor string) []byte {
	filters, err := json.Marshal(p.Filters)
	if err != nil {
		panic(fmt.Sprintf("api: filters of %s: %v", p.Op, err))
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(p.Op), filters, []byte(cursor)} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return h.Sum(nil)[:tokenSum]
}

func (p PageRequest) token(cursor string) string {
	return base64.RawURLEncoding.EncodeToString(append(p.sum(cursor), cursor...))
}

func (p PageRequest) cursor() (string, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(p.Token)
	if err != nil || len(raw) < tokenSum || p.token(string(raw[tokenSum:])) != p.Token {
		return "", Errorf(CodeNextToken, "NextToken is not one that %s gave for these filters: ask for the first page without it", p.Op)
	}
	return string(raw[tokenSum:]), nil
}
