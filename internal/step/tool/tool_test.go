package tool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/step/tool"
	"ssmagent/platform/proc"
)

func sh(script string) tool.Spec {
	return tool.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"GREETING=hi", "PATH=/usr/bin:/bin"}, Dir: "/", Start: proc.Start}
}

func TestRun(t *testing.T) {
	t.Parallel()
	r, err := tool.Run(t.Context(), sh(`echo "$GREETING from $PWD"; echo no >&2; exit 3`))
	if err != nil || r.Stdout != "hi from /\n" || r.Stderr != "no\n" || r.State.Code != 3 {
		t.Errorf("%+v %v", r, err)
	}
	r, err = tool.Run(t.Context(), sh(`head -c 3000000 /dev/zero`))
	if err != nil || len(r.Stdout) != tool.MaxOutput || r.State.Code != 0 {
		t.Errorf("%d bytes kept, %+v %v", len(r.Stdout), r.State, err)
	}
	begun := time.Now()
	r, err = tool.Run(t.Context(), sh(`sleep 30 & echo done`))
	if err != nil || r.Stdout != "done\n" || time.Since(begun) > 20*time.Second {
		t.Errorf("%+v %v after %v", r, err, time.Since(begun))
	}
	if _, err := tool.Run(t.Context(), tool.Spec{Path: "/nowhere", Args: []string{"nowhere"}, Start: proc.Start}); err == nil {
		t.Error("a program that is not there ran")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(enough) })
	r, err := tool.Run(ctx, sh(`echo begun; sleep 60 | cat`))
	if !errors.Is(err, enough) || !strings.HasPrefix(err.Error(), "sh: ") || r.State.Signal == "" {
		t.Errorf("%+v %v", r, err)
	}
}
