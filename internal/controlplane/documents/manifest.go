package documents

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/manifest"
	"ssmagent/internal/wire/ssm"
)

const (
	typePackage   = "Package"
	packageLatest = "latest"
)

// getManifest answers for packages whose manifest has a packageArn: those are
// the packages of the package service, all others are documents to nodes. The
// files' addresses are filled in.
func (s *Service) getManifest(ctx context.Context, _ api.Caller, in ssm.GetManifestInput) (ssm.GetManifestOutput, error) {
	var v Version
	err := s.opt.DB.View(func(tx *store.Tx) (err error) {
		v, err = s.packaged(tx, in.PackageName, in.PackageVersion)
		return err
	})
	if err != nil {
		return ssm.GetManifestOutput{}, err
	}
	m, err := manifest.Decode([]byte(v.Content))
	if err != nil {
		return ssm.GetManifestOutput{}, fmt.Errorf("manifest of %s: %w", in.PackageName, err)
	}
	files, err := s.contents(ctx, v)
	if err != nil {
		return ssm.GetManifestOutput{}, err
	}
	for _, a := range files {
		if f, ok := m.Files[a.Name]; ok {
			f.DownloadLocation, f.Size = a.Url, a.Size
			m.Files[a.Name] = f
		}
	}
	b, err := json.Marshal(m)
	return ssm.GetManifestOutput{Manifest: string(b)}, err
}

// packaged finds a version of a package by its name or ARN: the default one
// when the latest is asked for, else that of the manifest or the version name.
func (s *Service) packaged(tx *store.Tx, name, version string) (Version, error) {
	plain := name
	if strings.HasPrefix(name, "arn:") {
		plain = name[strings.LastIndexByte(name, '/')+1:]
	}
	none := api.Errorf("ResourceNotFoundException", "there is no package %q with a manifest of version %q here", api.Clip(name, 128), api.Clip(version, 128))
	d, ok, err := Table.Get(tx, plain)
	if err != nil {
		return Version{}, err
	}
	if !ok || d.Type != typePackage {
		return Version{}, none
	}
	all, err := s.versions(tx, d)
	if err != nil {
		return Version{}, err
	}
	slices.Reverse(all) // of two with one version the newer counts
	i := slices.IndexFunc(all, func(v Version) bool {
		if version == packageLatest {
			return v.Number == d.Default
		}
		return v.PackageVersion == version || v.VersionName == version
	})
	if i < 0 || all[i].PackageARN == "" || plain != name && all[i].PackageARN != name {
		return Version{}, none
	}
	return all[i], nil
}
