package shelltest

import "testing"

func TestFake(t *testing.T) {
	t.Parallel()
	f := new(Fake)
	Suite{Open: f.Open, Alive: f.Alive}.Run(t)
}
