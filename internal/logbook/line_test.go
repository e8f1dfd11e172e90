package logbook

import (
	"bytes"
	"crypto/rsa"
	"log/slog"
	"maps"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/secret"
)

// TestLine: the form that shippers of stock logs parse.
func TestLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(NewLine(&b, slog.LevelInfo, false)).With("session", "s-1")
	log.Info("it opened\nand more", "who", "a b", "n", 3)
	log.Debug("not this")
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{4} INFO it opened and more session=s-1 who="a b" n=3\n$`)
	if !want.MatchString(b.String()) {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	slog.New(NewLine(&b, slog.LevelError, true)).WithGroup("g").Error("no", "k", "v")
	want = regexp.MustCompile(`^\S+ \S+ ERROR \[logbook\.TestLine @ line_test\.go\.\d+\] no g\.k=v\n$`)
	if !want.MatchString(b.String()) {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	slog.New(NewLine(&b, slog.LevelInfo, false)).Warn("alone")
	if !strings.HasSuffix(b.String(), " WARN alone\n") {
		t.Errorf("%q", b.String())
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	var got []Entry
	log := slog.New(NewEntries(func(e Entry) error { got = append(got, e); return nil }, slog.LevelInfo)).With("session", "s-1")
	log.Warn("lost", "error", "x", "command", "c\n1")
	log.Info("found")
	if len(got) != 2 || got[0].Message != `lost session=s-1 error=x command="c\n1"` || got[0].Level != slog.LevelWarn ||
		!maps.Equal(got[0].Fields, map[string]string{"SSM_SESSION_ID": "s-1", "SSM_COMMAND_ID": "c 1"}) ||
		!maps.Equal(got[1].Fields, map[string]string{"SSM_SESSION_ID": "s-1"}) {
		t.Errorf("%+v", got)
	}
}

// TestHides: neither a key nor credentials are printed, whoever logs them.
func TestHides(t *testing.T) {
	t.Parallel()
	key := &rsa.PrivateKey{D: big.NewInt(123456789)}
	creds := aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "hush-1", SessionToken: "hush-2"}
	var b bytes.Buffer
	for _, h := range []slog.Handler{NewLine(&b, slog.LevelInfo, false), slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: Hide})} {
		slog.New(h).With("c", creds).Info("m", "key", key, "creds", &creds, "one", *key, "code", secret.Text("hush-3"))
	}
	if got := b.String(); strings.Contains(got, "123456789") || strings.Contains(got, "hush") || strings.Count(got, secret.Hidden) != 10 {
		t.Errorf("%s", got)
	}
}

func TestMarked(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(Marked{NewLine(&b, slog.LevelInfo, false), "again_in"})
	log.Info("this not")
	log.With("again_in", 1).Info("nor this")
	log.Info("but this", "x", 1, "again_in", 2)
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "but this") {
		t.Errorf("%q", got)
	}
}

// FuzzLine: whatever is logged is one line of printable text.
func FuzzLine(f *testing.F) {
	f.Add("message", "key", "value")
	f.Add("m", "\x7f", "\x7f")
	f.Add("a\nb\x1b[31m", "k\x00", "\x9b\u202e\xff")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		var b bytes.Buffer
		slog.New(NewLine(&b, slog.LevelInfo, false)).Info(text, key, value)
		line, ok := strings.CutSuffix(b.String(), "\n")
		if !ok || strings.ContainsFunc(line, unicode.IsControl) {
			t.Errorf("%q", b.String())
		}
	})
}
