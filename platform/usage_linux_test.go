package platform

import (
	"os"
	"testing"
)

func TestSelf(t *testing.T) {
	t.Parallel()
	before := Self()
	if before.Files < 3 || before.FileLimit < before.Files || before.Resident < 1<<20 {
		t.Fatalf("this process takes %+v", before)
	}
	for range 40 { // many more than other tests may open or close meanwhile
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after := Self(); after.Files < before.Files+20 {
		t.Errorf("%d files after 40 more than %d were opened", after.Files, before.Files)
	}
}

func TestResidentPages(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"100 42 7 1 0 9 0\n": 42, "": 0, "1": 0, "1 x": 0, "1 -4": 0} {
		if got := residentPages(text); got != want {
			t.Errorf("%q: %d, not %d", text, got, want)
		}
	}
}

func TestSpaceAt(t *testing.T) {
	t.Parallel()
	s, err := SpaceAt(t.TempDir())
	if err != nil || s.Total <= 0 || s.Free < 0 || s.Free > s.Total || s.FreeFiles < -1 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := SpaceAt(t.TempDir() + "/none"); err == nil {
		t.Error("a folder that is not there has space")
	}
}
