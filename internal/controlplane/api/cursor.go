package api

// Cursor is the key after which the page starts, "" for the first page: for
// lists that are read from an index instead of being held whole. A foreign
// token is InvalidNextToken.
func (p PageRequest) Cursor() (string, error) {
	if p.Token == "" {
		return "", nil
	}
	return p.cursor()
}

// NextToken is the token of the page that starts after cursor.
func (p PageRequest) NextToken(cursor string) string { return p.token(cursor) }

// Size is the number of items of a page.
func (p PageRequest) Size() int {
	if p.Max > 0 {
		return p.Max
	}
	return p.Default
}
