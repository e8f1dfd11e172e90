package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// sharedFile asks the profile.
func (c *Chain) sharedFile(ctx context.Context) (aws.Credentials, error) {
	p := c.files.get(c.profile)
	if p == nil {
		return aws.Credentials{}, none("no profile %s (%s)", c.profile, c.files.where())
	}
	return c.ofProfile(ctx, p, nil)
}

// ofProfile is the credentials of p; via are the profiles that led to it.
func (c *Chain) ofProfile(ctx context.Context, p *profile, via []string) (aws.Credentials, error) {
	if p.half != "" {
		return aws.Credentials{}, fmt.Errorf("profile %s has %s", p.name, p.half)
	}
	if len(via) > 0 && p.value(keyID) != "" && p.value(keySecret) != "" {
		return static(p)
	}
	role := p.value("role_arn")
	switch {
	case slices.Contains(via, p.name) && via[len(via)-1] != p.name:
		return aws.Credentials{}, fmt.Errorf("the profiles %s name each other as source_profile", strings.Join(append(via, p.name), ", "))
	case role == "" || slices.Contains(via, p.name):
		return c.own(ctx, p)
	case p.value("web_identity_token_file") != "" && p.value("source_profile") == "" && p.value("credential_source") == "":
		creds, err := c.withToken(ctx, p.value("web_identity_token_file"), role, p.value("role_session_name"))
		return creds, named(p, err)
	case p.value("mfa_serial") != "":
		return aws.Credentials{}, fmt.Errorf("profile %s asks for an MFA code, which cannot be typed here; "+
			"run `aws configure export-credentials --profile %s --format env` and set what it prints", p.name, p.name)
	}
	base, err := c.base(ctx, p, via)
	if err != nil {
		if _, ok := errors.AsType[absent](err); ok { // here they are meant to be
			err = errors.New(err.Error())
		}
		return aws.Credentials{}, named(p, err)
	}
	creds, err := c.assume(ctx, base, p)
	return creds, named(p, err)
}

func named(p *profile, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("profile %s: %w", p.name, err)
}

// base is what the role of p is assumed with.
func (c *Chain) base(ctx context.Context, p *profile, via []string) (aws.Credentials, error) {
	from, kind := p.value("source_profile"), p.value("credential_source")
	switch {
	case from != "" && kind != "":
		return aws.Credentials{}, errors.New("it has both source_profile and credential_source; remove one")
	case from != "":
		next := c.files.get(from)
		if next == nil {
			return aws.Credentials{}, fmt.Errorf("source_profile: %w", c.files.unknown(from))
		}
		return c.ofProfile(ctx, next, append(slices.Clone(via), p.name))
	case kind == "":
		creds, err := c.own(ctx, p)
		if _, ok := errors.AsType[absent](err); ok {
			return aws.Credentials{}, errors.New("it has a role_arn, but neither source_profile nor credential_source nor web_identity_token_file to assume it with")
		}
		return creds, err
	}
	switch kind {
	case "Environment":
		return c.variables()
	case "EcsContainer":
		return c.container(ctx)
	case "Ec2InstanceMetadata":
		return c.instanceProfile(ctx)
	}
	return aws.Credentials{}, fmt.Errorf("credential_source %q must be Environment, EcsContainer or Ec2InstanceMetadata", printable(kind))
}

// own is the credentials that p has without a role.
func (c *Chain) own(ctx context.Context, p *profile) (aws.Credentials, error) {
	id, secret := p.value(keyID), p.value(keySecret)
	browser := slices.ContainsFunc([]string{"sso_session", "sso_start_url", "sso_account_id", "login_session"},
		func(k string) bool { return p.value(k) != "" })
	switch process := p.value("credential_process"); {
	case id != "" && secret != "":
		return static(p)
	case browser:
		return c.exported(ctx, p)
	case process != "":
		b, err := c.m.Shell(ctx, process)
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("credential_process of profile %s: %w", p.name, err)
		}
		return program(b, "credential_process of profile "+p.name)
	}
	return aws.Credentials{}, none("profile %s has no credentials", p.name)
}

func static(p *profile) (aws.Credentials, error) {
	source := "profile " + p.name + " in " + p.from
	creds, err := whole(p.value(keyID), p.value(keySecret), p.value(keyToken), "")
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s: %s and %s must be plain text without blanks", source, keyID, keySecret)
	}
	creds.Source = source
	return creds, nil
}

// exported asks the AWS CLI, which keeps what a login in the browser gave.
func (c *Chain) exported(ctx context.Context, p *profile) (aws.Credentials, error) {
	b, err := c.m.Run(ctx, "aws", "configure", "export-credentials", "--profile", p.name, "--format", "process")
	switch {
	case errors.Is(err, ErrNoProgram):
		return aws.Credentials{}, fmt.Errorf("profile %s needs a login in the browser, which the AWS CLI version 2 does, and it is not installed; "+
			"install it, or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN", p.name)
	case err != nil:
		return aws.Credentials{}, fmt.Errorf("profile %s needs a login in the browser; run `aws sso login --profile %s` or `aws login --profile %s`: %w", p.name, p.name, p.name, err)
	}
	return program(b, "the AWS CLI's login of profile "+p.name)
}

// program reads what a program printed; it must say its version.
func program(b []byte, source string) (aws.Credentials, error) {
	var v struct{ Version int }
	if json.Unmarshal(b, &v) == nil && v.Version != 1 {
		return aws.Credentials{}, fmt.Errorf("%s: its answer must have \"Version\": 1", source)
	}
	return credentialsOf(b, source)
}
