package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// source is the description of the package, which WiX reads as well.
const source = "wix/agent.wxs"

// msi makes a package for Windows Installer: wixl builds it, and the tables get
// what wixl does not know.
func (o options) msi(scratch string) error {
	platform := map[string]string{"amd64": "x64", "386": "Intel"}[o.arch]
	if platform == "" {
		return fmt.Errorf("no msi for %s: take the zip", o.arch)
	}
	wxs, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	if err := o.stage(scratch); err != nil {
		return err
	}
	product, err := o.productCode(scratch)
	if err != nil {
		return err
	}
	args := map[string][]string{
		"amd64": {"-a", "x64", "-D", "Win64=yes", "-D", "ProgramFiles=ProgramFiles64Folder"},
		"386":   {"-a", "x86", "-D", "Win64=no", "-D", "ProgramFiles=ProgramFilesFolder"},
	}[o.arch]
	built := filepath.Join(scratch, "built.msi")
	// Wixl leaves out what it does not understand, says so, and succeeds.
	out, err := tool(scratch, "wixl", append(args, "-D", "Version="+o.version, "-D", "ProductCode="+product, "-o", built, wxs)...)
	if err == nil && out != "" {
		err = errors.New("wixl warns:\n" + out)
	}
	if err != nil {
		return err
	}
	if err := patch(built, o.queries()); err != nil {
		return err
	}
	if err := o.summarize(built, platform, product); err != nil {
		return err
	}
	// The code of the package is made of the package, and differs with it.
	b, err := os.ReadFile(built)
	if err == nil {
		err = o.summarize(built, platform, code(b))
	}
	if err == nil {
		err = o.sign(built)
	}
	if err != nil {
		return err
	}
	if b, err = os.ReadFile(built); err != nil {
		return err
	}
	return os.WriteFile(o.out, b, 0o644)
}

// productCode is made of what gets installed: Windows takes two packages of one
// product code for the same, whatever is in them.
func (o options) productCode(stage string) (string, error) {
	all := []byte(o.version + " " + o.arch)
	for _, file := range []string{filepath.Join(stage, program), filepath.Join(stage, "NOTICE.md"), filepath.Join(stage, name+".json.template"), source} {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(b)
		all = append(all, sum[:]...)
	}
	return code(all), nil
}

// code is a UUID (RFC 9562, version 8) made of b, as Windows Installer writes them.
func code(b []byte) string {
	u := sha256.Sum256(b)
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// patch changes the tables of a package.
func patch(msi string, queries []string) error {
	args := []string{msi}
	for _, q := range queries {
		args = append(args, "-q", q)
	}
	out, err := tool("", "msibuild", args...)
	if err == nil && out != "" {
		err = errors.New("msibuild says:\n" + out)
	}
	return err
}

// summarize writes the package's summary, which wixl would date with now.
func (o options) summarize(msi, platform, packageCode string) error {
	const title, author, longNamesCompressed, readOnly = "Installation Database", "ssmagent", "2", "2"
	at := o.time.Format("2006/01/02 15:04:05")
	rows := []string{"PropertyId\tValue", "i2\tl255", "_SummaryInformation\tPropertyId",
		"1\t1252", "2\t" + title, "3\tagent for AWS Systems Manager", "4\t" + author, "5\tInstaller",
		"7\t" + platform + ";1033", "9\t{" + packageCode + "}", "12\t" + at, "13\t" + at, "14\t500",
		"15\t" + longNamesCompressed, "18\tmsitools", "19\t" + readOnly, ""}
	table := filepath.Join(filepath.Dir(msi), "_SummaryInformation.idt")
	if err := os.WriteFile(table, []byte(strings.Join(rows, "\r\n")), 0o644); err != nil {
		return err
	}
	_, err := tool("", "msibuild", msi, "-i", table)
	return err
}
