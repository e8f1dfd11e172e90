package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

const gitHubAPI = "https://api.github.com"

type gitHubInfo struct {
	Owner      string `json:"owner"`
	Repository string `json:"repository"`
	Path       string `json:"path"`
	GetOptions string `json:"getOptions"`
	TokenInfo  string `json:"tokenInfo"`
}

// gitHub fetches a file, or a directory with all below it, by the contents API.
func (p Plugin) gitHub(ctx context.Context, i gitHubInfo, to *destination) error {
	if i.Owner == "" || i.Repository == "" {
		return errors.New("sourceInfo needs an owner and a repository")
	}
	if !plainName(i.Owner) || !plainName(i.Repository) || slices.Contains(strings.Split(i.Path, "/"), "..") {
		return errors.New("owner and repository must be names of letters, digits and any of . _ -, and path one without \"..\"")
	}
	options, err := parseOptions(i.GetOptions)
	if err != nil {
		return err
	}
	r := repository{Plugin: p, info: i, ref: options.ref("master")}
	if i.TokenInfo != "" {
		ref, ok := reference(i.TokenInfo)
		if !ok || !strings.HasPrefix(ref, "ssm-secure:") {
			return errors.New("tokenInfo must be a reference to a SecureString, like {{ssm-secure:name}}: a token does not belong into a document")
		}
		if r.token, err = p.Secret(ctx, ref); err != nil {
			return fmt.Errorf("tokenInfo: %w", err)
		}
		r.token = strings.TrimSpace(r.token)
	}
	if r.http, err = p.following(true); err != nil {
		return err
	}
	at := strings.Trim(i.Path, "/")
	entries, isFile, err := r.list(ctx, at)
	switch {
	case err != nil:
		return err
	case isFile:
		return r.raw(ctx, at, func(resp *http.Response) error { return to.file(path.Base(at), resp.Body) })
	}
	if err := to.directory(); err != nil {
		return err
	}
	return r.tree(ctx, at, "", entries, to)
}

func plainName(s string) bool {
	ok := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
	return ok && s != "." && s != ".."
}

// repository is one at GitHub.
type repository struct {
	Plugin

	info  gitHubInfo
	ref   string
	token string
	http  *http.Client
}

// entry is a thing in a directory.
type entry struct {
	Name string `json:"name"`
	Type string `json:"type"` // file, dir, symlink, submodule
}

func (r *repository) tree(ctx context.Context, dir, local string, entries []entry, to *destination) error {
	for _, e := range entries {
		if e.Name == "" || strings.ContainsAny(e.Name, "/\x00") || e.Name == "." || e.Name == ".." {
			return fmt.Errorf("the repository names a file %.200q, which would not lie below the destination", e.Name)
		}
		from, name := path.Join(dir, e.Name), path.Join(local, e.Name)
		var err error
		switch e.Type {
		case "file", "symlink": // of a link, what it leads to in the repository
			err = r.raw(ctx, from, func(resp *http.Response) error { return to.put(name, resp.Body) })
		case "dir":
			if strings.Count(name, "/")+1 >= to.left.Depth {
				return fmt.Errorf("the repository has directories more than %d deep", to.left.Depth)
			}
			var below []entry
			if below, _, err = r.list(ctx, from); err == nil {
				err = r.tree(ctx, from, name, below, to)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list asks what lies at a path: the things in a directory, or a file.
func (r *repository) list(ctx context.Context, at string) (entries []entry, isFile bool, err error) {
	err = r.contents(ctx, at, "application/vnd.github+json", func(resp *http.Response) error {
		text, err := whole(resp)
		if err != nil {
			return err
		}
		var one entry
		switch {
		case json.Unmarshal(text, &entries) == nil:
			return nil
		case json.Unmarshal(text, &one) == nil && (one.Type == "file" || one.Type == "symlink"):
			isFile = true
			return nil
		case one.Type != "":
			return fmt.Errorf("%.200q is a %s; give the path of a file or a directory", at, clip(one.Type))
		}
		return fmt.Errorf("the answer of %s is no list of files", resp.Request.URL.Host)
	})
	return entries, isFile, err
}

func (r *repository) raw(ctx context.Context, at string, take func(*http.Response) error) error {
	return r.contents(ctx, at, "application/vnd.github.raw+json", take)
}

func (r *repository) contents(ctx context.Context, at, accept string, take func(*http.Response) error) error {
	api := r.GitHub
	if api == "" {
		api = gitHubAPI
	}
	address := strings.TrimRight(api, "/") + "/repos/" + url.PathEscape(r.info.Owner) + "/" + url.PathEscape(r.info.Repository) + "/contents/" + escapePath(at) +
		"?" + url.Values{"ref": {r.ref}}.Encode()
	return r.exchange(ctx, r.http, func(ctx context.Context) (*http.Request, error) {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		q.Header.Set("Accept", accept)
		q.Header.Set("X-GitHub-Api-Version", "2022-11-28")
		if r.token != "" {
			q.Header.Set("Authorization", "Bearer "+r.token)
		}
		return q, nil
	}, func(resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return take(resp)
		}
		var e struct {
			Message string `json:"message"`
		}
		if text, err := whole(resp); err == nil {
			_ = json.Unmarshal(text, &e) // the status says enough
		}
		err := refusal(resp, e.Message)
		if resp.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w; is there %.200q at %s in %s/%s, and may the token read it?", err, at, r.ref, r.info.Owner, r.info.Repository)
		}
		return err
	})
}

// options are what getOptions chooses.
type options struct{ branch, commit string }

func (o options) ref(other string) string {
	switch {
	case o.commit != "":
		return o.commit
	case o.branch != "":
		return o.branch
	}
	return other
}

// parseOptions reads "branch:<name>" or "commitID:<sha>".
func parseOptions(s string) (options, error) {
	if s == "" {
		return options{}, nil
	}
	key, value, _ := strings.Cut(s, ":")
	value = strings.TrimSpace(value)
	switch {
	case value == "" || strings.HasPrefix(value, "-") || strings.ContainsAny(value, ": \t\r\n\x00~^?*[\\"):
	case key == "branch":
		return options{branch: value}, nil
	case key == "commitID":
		return options{commit: value}, nil
	}
	return options{}, fmt.Errorf("getOptions %.100q is neither branch:<name> nor commitID:<sha>", s)
}
