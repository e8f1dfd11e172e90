package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/localapi"
	"ssmagent/internal/offline"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/watch"
)

const (
	// takenWithin is how long the agent may take to take a document, and
	// lookEvery how often it is looked for where nothing tells of news: both
	// as the stock program has them.
	takenWithin = 5 * time.Second
	lookEvery   = 500 * time.Millisecond
	// fetchWithin bounds the download of a document.
	fetchWithin = 30 * time.Second
)

// sendOfflineMain is the stock `ssm-cli send-offline-command`. Like that it
// says everything on standard output.
func sendOfflineMain(ctx context.Context, s streams, root string, args []string) int {
	set := flag.NewFlagSet("ssm-cli send-offline-command", flag.ContinueOnError)
	set.SetOutput(s.out)
	content := set.String("content", "", "a document in JSON, or the URL of one")
	if code, ok := parse(set, args, 0); !ok {
		return code
	}
	id, err := sendOffline(ctx, root, *content)
	if err != nil {
		fmt.Fprintf(s.out, "%s\nerror: %v\n", cliHelp, err)
		return exitCommand
	}
	fmt.Fprintf(s.out, "successfully submitted with command id: %s\n", id)
	return exitOK
}

func sendOffline(ctx context.Context, root, content string) (id string, err error) {
	if content == "" {
		return "", errors.New("--content is needed: a document in JSON, or the URL of one")
	}
	b, err := offlineContent(ctx, content)
	if err != nil {
		return "", err
	}
	if _, err := doc.Decode(b); err != nil {
		return "", err
	}
	p, err := pathsFor(root)
	if err != nil {
		return "", err
	}
	d := offline.Drop{Dir: p.LocalCommands, FS: fileSystem(root), Clock: clock.Real{}, Watch: watch.Dir, Within: takenWithin, Every: lookEvery}
	return d.Send(ctx, uuid.NewString(), b)
}

// offlineContent is content itself when it is an object, else what the URL has.
func offlineContent(ctx context.Context, content string) ([]byte, error) {
	if strings.HasPrefix(strings.TrimSpace(content), "{") {
		return []byte(content), nil
	}
	if path, ok := strings.CutPrefix(content, "file://"); ok {
		return readDocument(filepath.FromSlash(path))
	}
	if !strings.HasPrefix(content, "https://") && !strings.HasPrefix(content, "http://") {
		return nil, errors.New("--content is neither a JSON object nor a URL that begins with file://, https:// or http://")
	}
	t, err := ssmclient.Transport(nil)
	if err != nil {
		return nil, err
	}
	defer t.CloseIdleConnections()
	ctx, done := context.WithTimeout(ctx, fetchWithin)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, content, nil)
	if err != nil {
		return nil, fmt.Errorf("--content: %w", err)
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("--content: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("--content: %s answers %s", req.URL.Redacted(), resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, doc.MaxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("--content: %w", err)
	}
	return b, nil
}

// offlineInvocationMain is the stock `ssm-cli get-offline-command-invocation`.
func offlineInvocationMain(ctx context.Context, s streams, root string, args []string) int {
	set := flag.NewFlagSet("ssm-cli get-offline-command-invocation", flag.ContinueOnError)
	set.SetOutput(s.out)
	id := set.String("command-id", "", "what send-offline-command said")
	set.Bool("details", false, "without effect, as in the stock program")
	if code, ok := parse(set, args, 0); !ok {
		return code
	}
	status, err := offlineStatus(ctx, root, *id)
	if err != nil {
		fmt.Fprintf(s.out, "%s\nerror: %v\n", cliHelp, err)
		return exitCommand
	}
	fmt.Fprintln(s.out, status)
	return exitOK
}

func offlineStatus(ctx context.Context, root, id string) (string, error) {
	if len(id) != 36 || uuid.Validate(id) != nil {
		return "", errors.New("--command-id needs the 36 characters of a command's id")
	}
	p, err := pathsFor(root)
	if err != nil {
		return "", err
	}
	_, err = os.Lstat(filepath.Join(p.LocalCommands, "completed", id))
	if err == nil {
		return "Complete", nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	c, err := agentClient(root)
	if err != nil {
		return "", err
	}
	status := ""
	err = c.Ask(ctx, localapi.Request{Show: id}, func(a localapi.Answer) error {
		if a.Command != nil && a.Command.Channel == offline.Channel {
			status = map[doc.Status]string{job.Pending: "Pending", doc.InProgress: "In Progress"}[a.Command.Status]
		}
		return nil
	})
	if errors.Is(err, localapi.ErrNone) {
		return "", err
	}
	if status == "" {
		return "", fmt.Errorf("No status found for command ID %s", id) //nolint:staticcheck // the stock program's text
	}
	return status, nil
}
