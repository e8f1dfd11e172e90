package content

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/s3"
	"ssmagent/platform/proc"
)

// lab is a step's surroundings.
type lab struct {
	Plugin

	t   *testing.T
	dir string // the command's
}

func newLab(t *testing.T) *lab {
	return &lab{t: t, dir: t.TempDir(), Plugin: Plugin{
		HTTP: func() (*http.Client, error) { return &http.Client{Transport: http.DefaultTransport}, nil },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret", SessionToken: "token"}, nil
		}),
		Region: "us-east-1", Clock: hasty{}, Start: proc.Start, FindProgram: exec.LookPath, Env: os.Environ(),
		Secret: func(_ context.Context, ref string) (string, error) {
			if v, ok := map[string]string{"ssm-secure:token": "ghp_x\n", "ssm-secure:pass": "lovelace", "ssm:user": "ada"}[ref]; ok {
				return v, nil
			}
			return "", errors.New("there is no such parameter")
		},
		Document: func(_ context.Context, name, version string) ([]byte, error) {
			return []byte(name + "," + version), nil
		},
	}}
}

// hasty is a clock whose timers are a hundred times as fast.
type hasty struct{ clock.Real }

func (hasty) NewTimer(d time.Duration) clock.Timer { return clock.Real{}.NewTimer(d / 100) }

// run runs the step and returns its outcome and what it said.
func (l *lab) run(kind, to string, info any) (step.Outcome, string) {
	l.t.Helper()
	var out, errs bytes.Buffer
	o := l.Run(l.t.Context(), step.Input{CommandDir: l.dir, StepDir: filepath.Join(l.dir, "s"), Stdout: &out, Stderr: &errs,
		Properties: map[string]any{"sourceType": kind, "sourceInfo": info, "destinationPath": to}})
	return o, out.String() + errs.String()
}

// ok runs a step that must succeed.
func (l *lab) ok(kind, to string, info any) {
	l.t.Helper()
	if o, said := l.run(kind, to, info); o.Status != doc.Success || o.Code != 0 || !strings.HasPrefix(said, "Content downloaded to "+l.dir) && !filepath.IsAbs(to) {
		l.t.Errorf("%s %v: %+v %q", kind, info, o, said)
	}
}

// fails runs a step that must fail with the words.
func (l *lab) fails(want, kind, to string, info any) {
	l.t.Helper()
	o, said := l.run(kind, to, info)
	if o.Status != doc.Failed || o.Code != 1 || !strings.Contains(said, want) || strings.Contains(said, "lovelace") || strings.Contains(said, "ghp_x") {
		l.t.Errorf("%s %v: %+v %q, want %q", kind, info, o, said, want)
	}
}

// tree is the files below a directory, but for git's own: name, mode, content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == ".git" {
			return filepath.SkipDir
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		all = append(all, fmt.Sprintf("%s %o %s", rel, info.Mode().Perm(), b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func TestInputs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.ok("SSMDocument", "", `{"name":"arn:aws:ssm:us-east-1:111122223333:document/Mine:7"}`) // a string that holds an object
	l.ok("SSMDocument", "sub/", map[string]any{"name": "AWS-RunShellScript"})
	l.ok("SSMDocument", "sub/renamed", map[string]any{"NAME": "Other:$LATEST"})
	want := "Mine.json 700 arn:aws:ssm:us-east-1:111122223333:document/Mine,7\nsub/AWS-RunShellScript.json 700 AWS-RunShellScript,\nsub/renamed 700 Other,$LATEST"
	if got := tree(t, filepath.Join(l.dir, "downloads")); got != want {
		t.Errorf("%s", got)
	}
	for want, info := range map[string]any{
		"must be a JSON object": "no object", "has no name": map[string]any{}, "name is a JSON number": map[string]any{"name": 7},
		"would not lie below": map[string]any{"name": "a/\x00"}, "has 305 bytes": map[string]any{"name": strings.Repeat("n", 300)},
	} {
		l.fails(want, "SSMDocument", "x/", info)
	}
	l.fails("sourceType is missing", "", "", map[string]any{})
	l.fails(`sourceType "s3" is not known`, "s3", "", map[string]any{})
	l.fails("leads out of the command's directory", "SSMDocument", "a/../../b", map[string]any{"name": "x"})
	l.fails("NUL", "SSMDocument", "a\x00", map[string]any{"name": "x"})
	o := l.Run(t.Context(), step.Input{CommandDir: l.dir, Properties: []any{1}, Stderr: &bytes.Buffer{}})
	if o.Reason != step.ReasonInput {
		t.Errorf("%+v", o)
	}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(step.ErrCancelled)
	if o := l.Run(over, step.Input{}); o.Status != doc.Cancelled || o.Code != 1 {
		t.Errorf("%+v", o)
	}
}

// TestNothingLeadsOut: links that lie in the destination, and hostile names.
func TestNothingLeadsOut(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	outside := t.TempDir()
	downloads := filepath.Join(l.dir, "downloads")
	if err := os.MkdirAll(downloads, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "file.json"} {
		if err := os.Symlink(filepath.Join(outside, name), filepath.Join(downloads, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(outside, "link"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.fails("escapes", "SSMDocument", "link/", map[string]any{"name": "x"})
	l.fails("escapes", "SSMDocument", "link/deeper/", map[string]any{"name": "x"})
	l.ok("SSMDocument", "", map[string]any{"name": "file"}) // replaces the link, not what it leads to
	if got := tree(t, outside); got != "" {
		t.Errorf("outside: %s", got)
	}
	d, err := place(l.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	d.left = DefaultLimits()
	for _, name := range []string{"", ".", "..", "../x", "/etc/x", "a/../../x", "a/../b", "a\x00b", strings.Repeat("n", 256), "link/x", strings.Repeat("d/", 64) + "x"} {
		if err := d.put(name, strings.NewReader("no")); err == nil {
			t.Errorf("%.20q was written", name)
		}
	}
	if got := tree(t, outside); got != "" {
		t.Errorf("outside: %s", got)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var flaky, cut atomic.Int32
	var srv *httptest.Server
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "authorization %q", r.Header.Get("Authorization"))
	})
	srv = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			fmt.Fprint(w, "plain")
		case "/basic":
			if u, p, _ := r.BasicAuth(); u != "ada" || p != "lovelace" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/digest":
			c := challenge{realm: "r", nonce: "n", algorithm: "SHA-256-sess", qop: "auth-int", userhash: true}
			given, err := parseAttributes(strings.TrimPrefix(r.Header.Get("Authorization"), "Digest "))
			if err != nil || given["cnonce"] == "" || r.Header.Get("Authorization") != c.answer("GET", "/digest?q=1", "ada", "lovelace", given["cnonce"]) {
				w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth-int, auth", userhash=true`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/flaky":
			if flaky.Add(1) < 4 {
				w.WriteHeader(http.StatusBadGateway)
			}
		case "/cut":
			if cut.Add(1) < 3 {
				w.Header().Set("Content-Length", "100")
				fmt.Fprint(w, "half")
				return
			}
			fmt.Fprint(w, "whole")
		case "/silent":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/away":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/x", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	info := func(path string, more ...any) map[string]any {
		m := map[string]any{"url": srv.URL + path, "allowInsecureDownload": true}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	user := []any{"username", "{{ssm:user}}", "password", "{{ ssm-secure:pass }}"}
	l.ok("HTTP", "plain", info("/plain"))
	l.ok("HTTP", "basic", info("/basic", append(user, "authMethod", "Basic")...))
	l.ok("HTTP", "digest", info("/digest?q=1", append(user, "authMethod", "Digest")...))
	l.ok("HTTP", "flaky", info("/flaky"))
	l.ok("HTTP", "cut", info("/cut"))
	l.ok("HTTP", "away", info("/away", append(user, "authMethod", "Basic")...))
	want := "away 700 authorization \"\"\nbasic 700 \ncut 700 whole\ndigest 700 \nflaky 700 \nplain 700 plain"
	if got := tree(t, filepath.Join(l.dir, "downloads")); got != want {
		t.Errorf("%s", got)
	}
	l.ok("HTTP", "named/", info("/plain"))
	if got := tree(t, filepath.Join(l.dir, "downloads", "named")); !strings.HasPrefix(got, "download") || len(got) < 20 {
		t.Errorf("%s", got)
	}
	l.fails("404", "HTTP", "", info("/nothing"))
	l.fails("401", "HTTP", "", info("/basic"))
	l.fails("asks for none", "HTTP", "", info("/plain", append(user, "authMethod", "Digest")...))
	l.fails("401", "HTTP", "", info("/digest", "authMethod", "Digest", "username", "x", "password", "y"))
	l.fails("nothing came for", "HTTP", "", info("/silent"))
	l.fails("redirect", "HTTP", "", info("/round"))
	l.fails("authMethod \"basic\" is not known", "HTTP", "", info("/plain", "authMethod", "basic"))
	l.fails("username and password are empty", "HTTP", "", info("/plain", "authMethod", "Basic"))
	l.fails("password: there is no such parameter", "HTTP", "", info("/plain", "authMethod", "Basic", "username", "ada", "password", "{{ssm-secure:nope}}"))
	l.fails("set allowInsecureDownload", "HTTP", "", map[string]any{"url": srv.URL})
	l.fails("is a JSON string", "HTTP", "", info("/plain", "allowInsecureDownload", "true"))
	l.fails("is not a URL", "HTTP", "", map[string]any{"url": "ftp://x"})
	l.Limits = Limits{Bytes: 4, Files: 1, Depth: 2}
	l.fails("larger than one step may download", "HTTP", "big", info("/plain"))
	if _, err := os.Stat(filepath.Join(l.dir, "downloads", "big")); err == nil {
		t.Error("half a file was left")
	}
}

// TestCancel: a download that is under way ends, and leaves nothing.
func TestCancel(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		cancel(step.ErrCancelled)
		<-r.Context().Done()
	})
	var out, errs bytes.Buffer
	o := l.Run(ctx, step.Input{CommandDir: l.dir, Stdout: &out, Stderr: &errs,
		Properties: map[string]any{"sourceType": "HTTP", "sourceInfo": map[string]any{"url": srv.URL, "allowInsecureDownload": true}}})
	if o.Status != doc.Cancelled || tree(t, l.dir) != "" || !strings.Contains(errs.String(), "cancelled by the operator") {
		t.Errorf("%+v %q %q", o, errs.String(), tree(t, l.dir))
	}
}

func TestRedirectToPlainText(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") })
	safe := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(safe.Close)
	l.HTTP = func() (*http.Client, error) { return safe.Client(), nil }
	l.fails("leads from https to http", "HTTP", "x", map[string]any{"url": safe.URL, "allowInsecureDownload": true})
}

func TestS3(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	objects := map[string]string{"out/../../x": "X", "dir/": "", "dir/a": "A", "dir/b/c d+e": "C", "one": "1", "open": "o"}
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/bucket")
		signed := strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/s3/")
		refuse := func(status int, code string) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			w.WriteHeader(status)
			_ = xml.NewEncoder(w).Encode(s3.Error{Code: code, Message: "no"})
		}
		switch {
		case path == r.URL.Path:
			refuse(http.StatusNotFound, "NoSuchBucket")
		case path == "/open" && r.Header.Get("Authorization") == "":
			fmt.Fprint(w, objects["open"])
		case !signed:
			refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed")
		case path == "/open" || path == "/secret":
			refuse(http.StatusForbidden, "AccessDenied")
		case path == "" || path == "/":
			var page s3.Listing
			for _, k := range []string{"dir/", "dir/a", "dir/b/c d+e", "out/../../x"} { // one a page
				if !strings.HasPrefix(k, r.URL.Query().Get("prefix")) || k <= r.URL.Query().Get("continuation-token") {
					continue
				}
				if page.Contents != nil {
					page.IsTruncated, page.NextToken = true, page.Contents[0].Key
					break
				}
				page.Contents = []s3.Listed{{Key: k}}
			}
			_ = xml.NewEncoder(w).Encode(page)
		case objects[path[1:]] != "":
			fmt.Fprint(w, objects[path[1:]])
		default:
			refuse(http.StatusNotFound, "NoSuchKey")
		}
	})
	l.S3 = srv.URL
	at := func(key string) map[string]any {
		return map[string]any{"path": "https://bucket.s3.amazonaws.com/" + key}
	}
	l.ok("S3", "", at("dir"))
	l.ok("S3", "again/", at("dir/"))
	l.ok("S3", "file", at("one"))
	l.ok("S3", "into/", at("dir/b/c%20d%2Be"))
	l.ok("S3", "public", at("open"))
	want := "a 700 A\nagain/a 700 A\nagain/b/c d+e 700 C\nb/c d+e 700 C\nfile 700 1\ninto/c d+e 700 C\npublic 700 o"
	if got := tree(t, filepath.Join(l.dir, "downloads")); got != want {
		t.Errorf("%s", got)
	}
	l.fails("NoSuchKey", "S3", "", at("nothing"))
	l.fails("there is no object below", "S3", "", at("nothing/"))
	l.fails("AccessDenied", "S3", "", at("secret"))
	l.fails("would not lie below", "S3", "", at("out"))
	l.fails("NoSuchBucket", "S3", "", map[string]any{"path": "https://s3.amazonaws.com/other/k"})
	l.fails("is not an address of S3", "S3", "", map[string]any{"path": "https://example.com/k"})
	l.fails("has no path", "S3", "", map[string]any{})
	l.Limits = Limits{Bytes: 100, Files: 1, Depth: 9}
	l.fails("more files than one step", "S3", "", at("dir"))
}

// TestGet: an address of S3 is opened with the node's credentials, unless it is
// signed itself, and any other as it is.
func TestGet(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s signed=%v", r.URL, r.Header.Get("Authorization") != "")
	})
	l.S3 = srv.URL
	for address, want := range map[string]string{
		"https://bucket.s3.amazonaws.com/a/b.msi": "/bucket/a/b.msi signed=true",
		srv.URL + "/bucket/b.msi":                 "/bucket/b.msi signed=true",
		srv.URL + "/bucket/b.msi?X-Amz-Signature": "/bucket/b.msi?X-Amz-Signature signed=false",
		srv.URL + "/only":                         "/only signed=false",
	} {
		var got []byte
		err := l.Get(t.Context(), address, func(from io.Reader) (err error) { got, err = io.ReadAll(from); return err })
		if err != nil || string(got) != want {
			t.Errorf("%s: %q %v", address, got, err)
		}
	}
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var strayed atomic.Bool
	other := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Store(true) })
	files := map[string]string{"/README": "r", "/src/a b": "a", "/src/deep/c": "c", "/src/link": "target"}
	lists := map[string]string{
		"/src": `[{"name":"a b","type":"file"},{"name":"deep","type":"dir"},{"name":"link","type":"symlink"},{"name":"mod","type":"submodule"}]`, "/src/deep": `[{"name":"c","type":"file"}]`,
		"/README": `{"name":"README","type":"file"}`, "/evil": `[{"name":"../x","type":"file"}]`, "/odd": `{"name":"m","type":"submodule"}`,
		"/ring": `[{"name":"ring","type":"dir"}]`,
	}
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path, ours := strings.CutPrefix(r.URL.Path, "/repos/ada/engine/contents")
		raw := strings.Contains(r.Header.Get("Accept"), "raw")
		switch {
		case r.Header.Get("Authorization") != "Bearer ghp_x":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"Not Found"}`)
		case path == "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case strings.Contains(path, "/ring"):
			fmt.Fprint(w, lists["/ring"])
		case ours && r.URL.Query().Get("ref") == "master" && raw && files[path] != "":
			fmt.Fprint(w, files[path])
		case ours && r.URL.Query().Get("ref") == "master" && !raw && lists[path] != "":
			fmt.Fprint(w, lists[path])
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	l.GitHub = srv.URL
	at := func(path string) map[string]any {
		return map[string]any{"owner": "ada", "repository": "engine", "path": path, "tokenInfo": "{{ssm-secure:token}}"}
	}
	l.ok("GitHub", "", at("src"))
	l.ok("GitHub", "", at("README"))
	if got, want := tree(t, filepath.Join(l.dir, "downloads")), "README 700 r\na b 700 a\ndeep/c 700 c\nlink 700 target"; got != want {
		t.Errorf("%s", got)
	}
	l.fails("would not lie below", "GitHub", "", at("evil"))
	l.fails("give the path of a file", "GitHub", "", at("odd"))
	l.fails("more than 64 deep", "GitHub", "", at("ring"))
	l.fails("may the token read it", "GitHub", "", at("nothing"))
	l.fails("another host", "GitHub", "", at("away"))
	l.fails("path one without", "GitHub", "", at("a/../../../user"))
	if strayed.Load() {
		t.Error("the token went to another host")
	}
	for want, more := range map[string][2]string{
		"must be a reference to a SecureString": {"tokenInfo", "ghp_inthedocument"}, "there is no such parameter": {"tokenInfo", "{{ssm-secure:other}}"},
		"neither branch": {"getOptions", "main"}, "owner and repository must be": {"owner", ".."}, "needs an owner": {"repository", ""},
	} {
		info := at("src")
		info[more[0]] = more[1]
		l.fails(want, "GitHub", "", info)
	}
}
