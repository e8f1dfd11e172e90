package program

import (
	"log/slog"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/identity"
	"ssmagent/internal/record/audit"
	"ssmagent/platform"
	"ssmagent/platform/secfile"
)

// auditLog is the audit log of the machine, or of what lies below root.
func auditLog(s streams, root string, p platform.Paths, cfg config.Config) *audit.Log {
	return audit.New(audit.Options{
		Dir: p.Audit, FS: fileSystem(root), Clock: clock.Real{}, Lock: secfile.Lock, MaxFiles: audit.Files(cfg.SSMAgent.Audit.MaxMiB),
		Log: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

// enrolment is what the audit log says of a registration. The activation's
// code is a secret, its id is not.
func enrolment(f *agentFlags, id identity.Identity, err error) audit.Event {
	e := audit.Event{Kind: audit.Registration, Node: id.InstanceID, Target: f.region, Status: "Success"}
	if f.id != "" {
		e.Detail = "activation " + f.id
	} else {
		e.Detail = "role " + f.role
	}
	if err != nil {
		e.Status = "Failed"
		e.Detail += ": " + err.Error()
	}
	return e
}
