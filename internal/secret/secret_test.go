package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const hush = "hush-12345678"

// TestUnprintable: no verb and no log shows it, alone or within.
func TestUnprintable(t *testing.T) {
	t.Parallel()
	type request struct {
		Name string
		Code Text
		More *Text
		All  map[string]Text
		List []Text
	}
	code := Text(hush)
	r := request{"n", code, &code, map[string]Text{"a": code}, []Text{code}}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%T %[1]v"} {
		fmt.Fprintf(&b, verb+" "+verb+"\n", code, r)
	}
	fmt.Fprintln(&b, errors.New(fmt.Sprint(code)), code.String())
	text := slog.New(slog.NewTextHandler(&b, nil))
	text.Info("m", "code", code, "all", r, "any", any(code), slog.Group("g", "code", code))
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "code", code, slog.Group("g", "code", code))
	if strings.Contains(b.String(), hush) || strings.Contains(b.String(), fmt.Sprintf("%x", hush)) {
		t.Errorf("it is printed:\n%s", b.String())
	}
	if n := strings.Count(b.String(), Hidden); n < 20 {
		t.Errorf("only %d times is it said that there is one:\n%s", n, b.String())
	}
}

// TestEncoded: the service and the vault get it as it is.
func TestEncoded(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(map[string]Text{"c": hush})
	if err != nil || string(b) != `{"c":"`+hush+`"}` {
		t.Errorf("%s, %v", b, err)
	}
	var back struct{ C Text }
	if err := json.Unmarshal(b, &back); err != nil || back.C != hush {
		t.Errorf("%v", err)
	}
}
