package program

import (
	"net"
	"strings"
	"testing"
)

func TestParseWay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]way{
		"8080":                   {"tcp", "localhost:8080", "", "8080", ""},
		"8080:80":                {"tcp", "localhost:8080", "", "80", ""},
		"0:80":                   {"tcp", "localhost:0", "", "80", ""},
		"8080:db.internal:5432":  {"tcp", "localhost:8080", "db.internal", "5432", ""},
		"8080:localhost:80":      {"tcp", "localhost:8080", "", "80", ""},
		"8080:127.0.0.1:80":      {"tcp", "localhost:8080", "", "80", ""},
		"8080:[::1]:80":          {"tcp", "localhost:8080", "", "80", ""},
		"0.0.0.0:8080":           {"tcp", "0.0.0.0:8080", "", "8080", ""},
		"0.0.0.0:8080:80":        {"tcp", "0.0.0.0:8080", "", "80", ""},
		"[::1]:1:[fd00::7]:2":    {"tcp", "[::1]:1", "fd00::7", "2", ""},
		"lab:1:db:2":             {"tcp", "lab:1", "db", "2", ""},
		"./db.sock:5432":         {"unix", "./db.sock", "", "5432", ""},
		"/run/db.sock:db:5432":   {"unix", "/run/db.sock", "db", "5432", ""},
		"8080:169.254.169.254:1": {"tcp", "localhost:8080", "169.254.169.254", "1", ""}, // the node refuses it
	} {
		if got, err := parseWay(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", ":", "0", "x", "8080:", ":8080", "08080", "8080:0", "65536", "-1", "8080:db", "8080:db:0", "8080::80", "a:b:c:d:e", "1:2:3:4:5:6:7",
		"[::1:8080", "[::1]8080", "[db]:80", "/run/db.sock", "/run/db.sock:", "lab:x:db:2",
	} {
		if got, err := parseWay(text); err == nil || !strings.Contains(err.Error(), "write it as") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestWayOrder(t *testing.T) {
	t.Parallel()
	in := way{"tcp", "localhost:0", "db", "5432", ""}.order("mi-1", &net.TCPAddr{Port: 7})
	if in.DocumentName != documentRemoteHost || in.Parameters["host"][0] != "db" || in.Parameters["portNumber"][0] != "5432" || in.Parameters["localPortNumber"][0] != "7" || in.Target != "mi-1" {
		t.Errorf("%+v", in)
	}
	in = way{"unix", "/s", "", "80", ""}.order("mi-1", &net.UnixAddr{})
	if in.DocumentName != documentPort || len(in.Parameters) != 1 {
		t.Errorf("%+v", in)
	}
	in = way{"tcp", "localhost:0", "db", "5432", "Mine"}.order("mi-1", &net.TCPAddr{Port: 7})
	if in.DocumentName != "Mine" || len(in.Parameters) != 2 || in.Parameters["host"][0] != "db" || in.Parameters["portNumber"][0] != "5432" {
		t.Errorf("%+v", in)
	}
}

func FuzzParseWay(f *testing.F) {
	f.Add("[::1]:8080:[fd00::1]:443")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := parseWay(text)
		if err == nil && (w.local == "" || !port(w.port, 1)) {
			t.Errorf("%q: %+v", text, w)
		}
	})
}
