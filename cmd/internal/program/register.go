package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/cmd/internal/connect"
	"ssmagent/fingerprint"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/credentials"
	"ssmagent/internal/identity"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/ssmclient"
	"ssmagent/platform/proc"
)

// register is `amazon-ssm-agent -register`.
func register(ctx context.Context, s streams, f *agentFlags) int {
	if f.code != "" {
		proc.ForgetArguments() // the code is among them
	}
	p, err := f.paths()
	if err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	if err := f.readCode(s.in); err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	disk := fileSystem(f.root)
	v := openVault(f.root, p)
	incomplete := f.region == "" || ((f.code == "" || f.id == "") && f.role == "")
	switch {
	case incomplete && f.clear:
		if err := identity.Clear(v, clock.Real{}); err != nil {
			s.failf("amazon-ssm-agent", "%v", err)
			return exitFailed
		}
		_ = auditLog(s, f.root, p, config.Default()).Append(audit.Event{Kind: audit.Registration, Status: "Cleared"}) // it has told the log
		fmt.Fprintln(s.err, "Registration information has been removed from the instance.")
		return exitOK
	case incomplete:
		fmt.Fprintf(s.err, "amazon-ssm-agent: %v\n", identity.ErrIncomplete)
		f.set.Usage()
		return exitFailed
	}
	cfg, err := loadConfig(s, p.ConfigFile)
	if err != nil {
		return exitFailed
	}
	// What went well is told below, without a time stamp.
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	useProxies(log)
	v.SealBy(sealer(), cfg.SSMAgent.SealKey)
	trail := auditLog(s, f.root, p, cfg)
	id, err := registerWith(ctx, s, f, cfg, identity.RegisterDeps{
		Config: cfg, Vault: v, FS: disk, Data: p.Data, Hardware: fingerprint.Read, UserAgent: agentUserAgent(),
		Clock: clock.Real{}, Ambient: ambient, StockHardware: fingerprint.ReadStock,
		Log: log,
	})
	if errors.Is(err, identity.ErrCanceled) {
		fmt.Fprintln(s.err, err)
		return exitFailed
	}
	_ = trail.Append(enrolment(f, id, err)) // it has told the log
	if err != nil {
		fmt.Fprintf(s.err, "Registration failed due to %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(s.err, "Successfully registered the instance with AWS SSM using Managed instance-id: %s\n", id.InstanceID)
	return exitOK
}

func registerWith(ctx context.Context, s streams, f *agentFlags, cfg config.Config, d identity.RegisterDeps) (identity.Identity, error) {
	o := identity.RegisterOptions{Code: f.code, ID: f.id, Role: f.role, Region: f.region, Yes: f.yes,
		Confirm: identity.Prompt(s.in, s.out), DisableSimilarityCheck: f.disableSimilarity}
	if f.tags != "" {
		if err := json.Unmarshal([]byte(f.tags), &o.Tags); err != nil {
			return identity.Identity{}, fmt.Errorf(`-tags is not a JSON list like [{"Key":"k","Value":"v"}]: %w`, err)
		}
	}
	var err error
	if d.HTTP, err = httpClient(cfg); err != nil {
		return identity.Identity{}, err
	}
	return identity.Register(ctx, d, o)
}

// ambient is the machine's own AWS credential chain, for -register -role.
func ambient(_ context.Context, region string) (aws.CredentialsProvider, error) {
	c, err := connect.Credentials(credentials.Options{Region: region})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// httpClient trusts the system's store and the configured bundle.
func httpClient(cfg config.Config) (*http.Client, error) {
	var ca []byte
	if path := cfg.SSMAgent.CABundle; path != "" {
		var err error
		if ca, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("ssmagent.CABundle: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("ssmagent.CABundle %s: %w", cfg.SSMAgent.CABundle, err)
	}
	return &http.Client{Transport: t, Timeout: time.Minute}, nil
}

// setThreshold is `amazon-ssm-agent -fingerprint`.
func setThreshold(_ context.Context, s streams, f *agentFlags) int {
	p, err := f.paths()
	if err == nil {
		err = identity.SetThreshold(openVault(f.root, p), f.threshold)
	}
	if err != nil {
		fmt.Fprintln(s.err, err)
		return exitFailed
	}
	fmt.Fprintf(s.err, "Fingerprint SimilarityThreshold set to %d\n", f.threshold)
	return exitOK
}

// loadConfig reads the configuration file and tells its warnings; an error is
// told too, and returned only to say so.
func loadConfig(s streams, path string) (config.Config, error) {
	cfg, err := readConfig(s, path)
	if err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
	}
	return cfg, err
}

// readConfig is loadConfig for who tells an error himself.
func readConfig(s streams, path string) (config.Config, error) {
	cfg, warnings, err := config.LoadFile(path)
	for _, w := range warnings {
		fmt.Fprintf(s.err, "amazon-ssm-agent: %s: %v\n", path, w)
	}
	if err != nil {
		return cfg, fmt.Errorf("app config could not be loaded - %s: %w", path, err)
	}
	return switched(cfg, os.Getenv), nil
}

// switched adds the switches of the environment that AWS's own programs have.
func switched(cfg config.Config, getenv func(string) string) config.Config {
	own := &cfg.SSMAgent
	own.UseFIPSEndpoint = own.UseFIPSEndpoint || strings.EqualFold(getenv("AWS_USE_FIPS_ENDPOINT"), "true")
	own.UseDualStackEndpoint = own.UseDualStackEndpoint || strings.EqualFold(getenv("AWS_USE_DUALSTACK_ENDPOINT"), "true")
	return cfg
}

// checkConfig is `amazon-ssm-agent -check-config`: 0 when the file says what
// it seems to say, 1 when something in it has no effect or is wrong.
func checkConfig(s streams, f *agentFlags) int {
	p, err := f.paths()
	if err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	cfg, warnings, err := config.LoadFile(p.ConfigFile)
	if err == nil {
		_, err = httpClient(cfg) // the file of certificates
	}
	for _, w := range warnings {
		fmt.Fprintf(s.out, "%s: warning: %v\n", p.ConfigFile, w)
	}
	switch {
	case err != nil:
		fmt.Fprintf(s.out, "%s: %v\n", p.ConfigFile, err)
		return exitFailed
	case len(warnings) > 0:
		return exitFailed
	}
	if _, err := os.Stat(p.ConfigFile); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(s.out, "%s is not there: the defaults hold\n", p.ConfigFile)
		return exitOK
	}
	fmt.Fprintf(s.out, "%s is fine\n", p.ConfigFile)
	return exitOK
}
