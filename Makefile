# ssmagent. `make help` lists the targets.
VERSION := $(shell cat VERSION)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
PKG     := ssmagent/cmd/internal/program
# Static, stripped and reproducible: nothing of the building place gets in.
export CGO_ENABLED := 0
# Tests too, so that both use what either has compiled.
export GOFLAGS := $(strip $(GOFLAGS) -trimpath -buildvcs=false)
BIN     ?= bin
GOBUILD := go build -ldflags '-s -w -buildid= -X $(PKG).version=$(VERSION) -X $(PKG).commit=$(COMMIT)'
HOST    := $(shell go env GOOS)_$(shell go env GOARCH)
LINKS   := ssm-cli ssm-local ssm-document-worker ssm-session-worker
TOOLS   := $(CURDIR)/build/tools
SOURCES := cmd internal platform service shell users fingerprint installer
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := build
.PHONY: build run test test-unit test-e2e test-install test-arm64 test-vm test-windows bench bench-windows soak fuzz lint fmt build-linux build-linux-386 build-arm build-arm64 build-windows build-windows-386 build-windows-arm64 build-darwin build-darwin-386 build-darwin-arm64 build-all package-deb package-deb-386 package-deb-arm package-deb-arm64 package-rpm package-rpm-386 package-rpm-arm64 package-tar package-tar-386 package-tar-arm package-tar-arm64 package-setup package-setup-386 package-setup-arm package-setup-arm64 package-key package-win package-win-386 package-win-arm64 package-linux package-windows package-darwin package package-all pre-build checkstyle lint-all quick-test quick-integtest coverage build-release release get-tools clean help

build: build-$(HOST) ## build for this machine into bin/<os>_<arch>/ (build-all: for all of them)

build-linux: build-linux_amd64 ## Linux amd64
build-linux-386: build-linux_386 ## Linux 386
build-arm: build-linux_arm ## Linux arm (v6 and later)
build-arm64: build-linux_arm64 ## Linux arm64
build-windows: build-windows_amd64 ## Windows amd64
build-windows-386: build-windows_386 ## Windows 386
build-windows-arm64: build-windows_arm64 ## Windows arm64
build-darwin: build-darwin_amd64 ## macOS amd64
build-darwin-arm64: build-darwin_arm64 ## macOS arm64
build-darwin-386: ## macOS 386: fails, for Go has no such port any more
	@echo 'build-darwin-386: Go 1.15 has dropped darwin/386; use build-darwin or build-darwin-arm64' >&2; exit 1
build-all: build-linux build-linux-386 build-arm build-arm64 build-windows build-windows-386 build-windows-arm64 build-darwin build-darwin-arm64 ## all of them

build-darwin_%:
	GOOS=darwin GOARCH=$* $(GOBUILD) -o $(BIN)/darwin_$*/ ./cmd/amazon-ssm-agent ./cmd/ssm-setup-cli
	cd $(BIN)/darwin_$* && for l in $(LINKS); do ln -sf amazon-ssm-agent $$l; done

build-linux_%:
	GOOS=linux GOARCH=$* GOARM=6 $(GOBUILD) -o $(BIN)/linux_$*/ ./cmd/amazon-ssm-agent ./cmd/ssm-setup-cli
	cd $(BIN)/linux_$* && for l in $(LINKS); do ln -sf amazon-ssm-agent $$l; done

# Packages: installer/pack is a module of its own, for what it needs is nobody
# else's. PACKAGE_KEY=FILE signs (passphrase in PACKAGE_KEY_PASSPHRASE).
PACK  := $(TOOLS)/pack
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))
package-deb: package-deb_amd64 ## Debian package, amd64
package-deb-386: package-deb_386 ## Debian package, i386
package-deb-arm: package-deb_arm ## Debian package, armhf
package-deb-arm64: package-deb_arm64 ## Debian package, arm64
package-rpm: package-rpm_amd64 ## RPM, x86_64
package-rpm-386: package-rpm_386 ## RPM, i386
package-rpm-arm64: package-rpm_arm64 ## RPM, aarch64

package-tar: package-tar_amd64 ## tarball with install.sh, amd64
package-tar-386: package-tar_386 ## tarball with install.sh, 386
package-tar-arm: package-tar_arm ## tarball with install.sh, arm
package-tar-arm64: package-tar_arm64 ## tarball with install.sh, arm64

PACKAGE = $(PACK) -arch $* -bin $(BIN)/linux_$* -version $(VERSION) -time $(EPOCH) $(if $(PACKAGE_KEY),-key $(PACKAGE_KEY))
package-deb_%: build-linux_% $(PACK)
	$(PACKAGE) -format deb -out $(BIN)/linux_$*/amazon-ssm-agent.deb
package-rpm_%: build-linux_% $(PACK)
	$(PACKAGE) -format rpm -out $(BIN)/linux_$*/amazon-ssm-agent.rpm

# What updaters fetch, under the stock agent's names: a package, or on Windows and
# macOS the files, with the scripts that install and remove it.
package-linux: update-linux_amd64 update-linux_386 update-linux_arm64 update-ubuntu_amd64 update-ubuntu_386 update-ubuntu_arm update-ubuntu_arm64 ## update packages for Linux: RPM (linux) and Debian (ubuntu)
package-windows: update-windows_amd64 update-windows_386 ## update packages for Windows
package-darwin: update-darwin_amd64 update-darwin_arm64 ## update packages for macOS

UPDATE = $(PACK) -format update -arch $* -version $(VERSION) -time $(EPOCH)
update-linux_%: package-rpm_%
	$(UPDATE) -platform linux -bin $(BIN)/linux_$* -out $(BIN)/linux_$*/amazon-ssm-agent-linux-$*.tar.gz
update-ubuntu_%: package-deb_%
	$(UPDATE) -platform ubuntu -bin $(BIN)/linux_$* -out $(BIN)/linux_$*/amazon-ssm-agent-ubuntu-$*.tar.gz
update-windows_%: package-win_%
	cp $(BIN)/windows_$*/amazon-ssm-agent.zip $(BIN)/windows_$*/amazon-ssm-agent-windows-$*.zip
update-darwin_%: build-darwin_% $(PACK)
	$(UPDATE) -platform darwin -bin $(BIN)/darwin_$* -out $(BIN)/darwin_$*/amazon-ssm-agent-darwin-$*.tar.gz

package-tar_%: build-linux_% $(PACK)
	$(PACKAGE) -format tar -out $(BIN)/linux_$*/amazon-ssm-agent-$(VERSION)-linux-$*.tar.gz

package-setup: package-setup_amd64 ## ssm-setup-cli with the licences of what is linked into it, amd64
package-setup-386: package-setup_386 ## ssm-setup-cli with its licences, 386
package-setup-arm: package-setup_arm ## ssm-setup-cli with its licences, arm
package-setup-arm64: package-setup_arm64 ## ssm-setup-cli with its licences, arm64
package-setup_%: build-linux_% $(PACK)
	$(PACKAGE) -format notices -out $(BIN)/linux_$*/ssm-setup-cli.copyright

package-key: $(PACK) ## a key to sign packages with in PACKAGE_KEY=FILE; ssm-setup-cli trusts FILE.pub
	$(PACK) -new-key $(or $(PACKAGE_KEY),$(error say where: make package-key PACKAGE_KEY=FILE))

$(PACK): $(wildcard installer/pack/*.go) installer/pack/go.mod installer/pack/go.sum
	cd installer/pack && go build -o $@ .

# The linker takes resources from beside the sources only, and they are nobody
# else's: there they are while it runs. Windows has no links for everybody, so
# the other names are files, which are one on this disk.
build-windows_%: $(TOOLS)/go-winres
	$(TOOLS)/go-winres make --in wix/resources.json --arch $* --out cmd/amazon-ssm-agent/rsrc --product-version $(VERSION) --file-version $(VERSION)
	GOOS=windows GOARCH=$* $(GOBUILD) -o $(BIN)/windows_$*/ ./cmd/amazon-ssm-agent ./cmd/ssm-setup-cli; rc=$$?; rm -f cmd/amazon-ssm-agent/rsrc_windows_$*.syso; exit $$rc
	cd $(BIN)/windows_$* && for l in ssm-cli ssm-local; do ln -f amazon-ssm-agent.exe $$l.exe; done

# PACKAGE_CERT=FILE and PACKAGE_CERT_KEY=FILE (PEM) sign the program and the
# package, PACKAGE_TIMESTAMP=URL has the signature's time stamped.
package-win: package-win_amd64 ## MSI and ZIP for Windows, amd64
package-win-386: package-win_386 ## MSI and ZIP for Windows, 386
package-win-arm64: package-win_arm64 ## ZIP for Windows, arm64

PACKAGE_WIN = $(PACK) -arch $* -bin $(BIN)/windows_$* -version $(VERSION) -time $(EPOCH) \
	$(if $(PACKAGE_CERT),-cert $(PACKAGE_CERT) -key $(PACKAGE_CERT_KEY)) $(if $(PACKAGE_TIMESTAMP),-timestamp $(PACKAGE_TIMESTAMP))
package-win_%: build-windows_% $(PACK)
	scripts/need.sh wixl msibuild $(if $(PACKAGE_CERT),osslsigncode)
	$(if $(filter arm64,$*),,$(PACKAGE_WIN) -format msi -out $(BIN)/windows_$*/amazon-ssm-agent.msi)
	$(PACKAGE_WIN) -format zip -out $(BIN)/windows_$*/amazon-ssm-agent.zip

$(TOOLS)/go-winres: tools/winres/go.mod tools/winres/go.sum
	cd tools/winres && go build -o $@ github.com/tc-hib/go-winres

run: build ## the main job on this machine, nothing outside ./.run changed (ONCE=1: exit by itself)
	exec bin/$(HOST)/ssm-local demo -root ./.run $(if $(ONCE),-once)

test: ## everything that can run here; a table at the end names what could not
	scripts/test.sh test-unit test-e2e test-install test-windows

test-unit: ## unit and property tests
	scripts/need.sh ip
	go test -timeout 8m $$(go list ./... | grep -v /e2e)

# These tests wait for other programs more than they work: two for each processor.
test-e2e: build ## real processes over real sockets, driven by other people's clients
	scripts/need.sh asciinema aws node npm tmux ssh sshd ssh-keygen vi less top rsync ip unshare
	$(MAKE) --no-print-directory $(TOOLS)/session-manager-plugin $(TOOLS)/npm/node_modules
	SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) go test -timeout 8m -parallel $$((2 * $$(nproc))) -skip '^Test(Install|Package(Life|Readme|Setup|Tarball)|Wine)' ./internal/e2e/...

# The life of the packages needs two versions of them, and a Debian to live on.
test-install: build package-deb package-rpm package-tar ## real accounts and sudo in a root of its own, packages on a real systemd; needs root
	scripts/need.sh aws busybox debootstrap ip lintian nsenter rpm rpmlint systemd-nspawn unshare useradd visudo libnss-extrausers
	$(MAKE) --no-print-directory $(TOOLS)/session-manager-plugin
	mkdir -p build/packages && rm -f build/packages/key build/packages/key.pub
	$(MAKE) --no-print-directory PACKAGE_KEY=build/packages/key package-key
	$(MAKE) --no-print-directory BIN=build/next VERSION=3.3.9001.0 PACKAGE_KEY=build/packages/key package-deb package-rpm package-tar
	lintian --allow-root --fail-on error,warning $(BIN)/$(HOST)/amazon-ssm-agent.deb
	scripts/aside.sh rpmlint --config installer/rpm/rpmlint.toml --strict $(BIN)/$(HOST)/amazon-ssm-agent.rpm
	scripts/debian-root.sh $(TOOLS)/debian-root
	for f in deb rpm; do cp $(BIN)/$(HOST)/amazon-ssm-agent.$$f build/packages/old.$$f && cp build/next/$(HOST)/amazon-ssm-agent.$$f build/packages/new.$$f || exit 1; done
	cp $(BIN)/$(HOST)/amazon-ssm-agent-$(VERSION)-linux-*.tar.gz build/packages/old.tar.gz
	for f in tar.gz tar.gz.asc; do cp build/next/$(HOST)/amazon-ssm-agent-3.3.9001.0-linux-*.$$f build/packages/new.$$f || exit 1; done
	scripts/stock-package.sh build/packages
	SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) SSMAGENT_IMAGE=$(TOOLS)/debian-root go test -timeout 8m -run '^TestInstall' ./internal/e2e/
	SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) SSMAGENT_IMAGE=$(TOOLS)/debian-root SSMAGENT_PACKAGES=$(CURDIR)/build/packages \
		go test -count=1 -timeout 8m -v -run '^TestPackage(Life|Readme|Setup|Tarball)$$' -exec $(CURDIR)/scripts/netns.sh ./internal/e2e

# Left out are packages whose tests start themselves again, which an emulated
# program cannot.
ARM64 := ./fingerprint ./shell ./users ./platform ./platform/distro ./platform/ipc ./platform/journal ./platform/secfile ./platform/software \
	./platform/tty ./platform/watch ./internal/fsys ./internal/seal ./internal/wire/frame
test-arm64: ## tests of what asks the kernel or counts bytes, for arm64 in qemu's emulation, which hangs at times: not part of test
	scripts/need.sh qemu-aarch64-static
	GOARCH=arm64 go test -timeout 4m -exec qemu-aarch64-static $(ARM64)

test-vm: package-deb ## the life of the Debian package in a virtual machine, with a kernel and control groups of its own; needs root, not part of test
	scripts/need.sh busybox cpio debootstrap mke2fs qemu-system-x86_64
	$(MAKE) --no-print-directory BIN=build/next VERSION=3.3.9001.0 package-deb
	scripts/debian-root.sh $(TOOLS)/debian-root
	mkdir -p build/packages
	cp $(BIN)/$(HOST)/amazon-ssm-agent.deb build/packages/old.deb && cp build/next/$(HOST)/amazon-ssm-agent.deb build/packages/new.deb
	scripts/vm.sh $(TOOLS)/debian-root $(CURDIR)/build/packages $(CURDIR)/build/vm

test-windows: build $(PACK) $(TOOLS)/go-winres ## the tests of what asks Windows as Windows programs, and the main job, under wine in a network of its own
	scripts/need.sh aws ip msibuild osslsigncode unshare wine wixl x86_64-w64-mingw32-gcc
	$(MAKE) --no-print-directory $(TOOLS)/session-manager-plugin
	SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) scripts/wine.sh scripts/test-windows.sh
	printf 'TestWinePackage%s\n' Refusals Life Setup | SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) xargs -P 2 -n 1 scripts/alone.sh scripts/wine.sh scripts/test-windows-package.sh
	@grep '^|' docs/windows-evidence.md

bench: build $(TOOLS)/session-manager-plugin ## timings and sizes of the real processes, into build/bench.json
	SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) go run ./cmd/internal/bench -plugin $(TOOLS)/session-manager-plugin -out build/bench.json

bench-windows: build ## 500 processes, consoles, sessions and log-ons of ssm-user under wine, and the handles that they leave
	scripts/need.sh ip unshare wine x86_64-w64-mingw32-gcc
	SSMAGENT_SESSIONS=500 SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) scripts/wine.sh scripts/bench-windows.sh

soak: build ## tunnels of clients of every age that nobody uses for 90 s, and for 20 min
	SSMAGENT_E2E_IDLE=90s SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) go test -count=1 -timeout 5m -run TestIdleTunnels ./internal/e2e
	SSMAGENT_E2E_IDLE=20m SSMAGENT_BIN=$(CURDIR)/bin/$(HOST) go test -count=1 -timeout 30m -run TestIdleTunnels ./internal/e2e

FUZZTIME ?= 60s
fuzz: ## every decoder's fuzz test for FUZZTIME (60s each)
	scripts/fuzz.sh $(FUZZTIME)

lint: checkstyle $(TOOLS)/golangci-lint ## gofmt, vet and golangci-lint for Linux, Windows and macOS, race detector
	for m in linux/amd64 linux/386 windows/amd64 windows/386 windows/arm64 darwin/arm64; do GOOS=$${m%/*} GOARCH=$${m#*/} $(TOOLS)/golangci-lint run ./... || exit 1; done
	CGO_ENABLED=1 go test -race $$(go list ./... | grep -v /e2e)

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) go install $(LINT)

# Clients of other people, for the end-to-end tests only: the pins decide when
# they are made again.
$(TOOLS)/session-manager-plugin: tools/plugin/go.mod tools/plugin/go.sum
	cd tools/plugin && go build -o $@ github.com/aws/session-manager-plugin/src/sessionmanagerplugin-main

$(TOOLS)/npm/node_modules: tools/npm/package.json tools/npm/package-lock.json
	mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

fmt: ## format the sources
	gofmt -w $(SOURCES)

# The other words that the stock agent's makefile has.
package: package-deb package-rpm package-tar package-setup package-win ## packages for amd64
package-all: package-deb package-deb-386 package-deb-arm package-deb-arm64 package-rpm package-rpm-386 package-rpm-arm64 package-tar package-tar-386 package-tar-arm package-tar-arm64 package-setup package-setup-386 package-setup-arm package-setup-arm64 package-win package-win-386 package-win-arm64 ## packages for every architecture
pre-build: ## make the scripts executable
	chmod +x scripts/*.sh installer/deb/p* installer/*/*.sh .ci/run
checkstyle: ## gofmt and vet
	@test -z "$$(gofmt -l $(SOURCES))" || { echo 'gofmt: run make fmt'; gofmt -l $(SOURCES); exit 1; }
	for os in linux windows darwin; do GOOS=$$os go vet ./... || exit 1; done
lint-all: lint ## lint
quick-test: test-unit test-e2e ## unit and end-to-end tests
quick-integtest: test-e2e ## end-to-end tests
coverage: ## unit tests, and how much of the code they run, into build/coverage.txt
	mkdir -p build && go test -timeout 8m -coverprofile=build/coverage.out $$(go list ./... | grep -v /e2e)
	go tool cover -func=build/coverage.out >build/coverage.txt && tail -n 1 build/coverage.txt
build-release: checkstyle coverage build-all package-all ## check, build and package everything
release: checkstyle coverage test package-all ## build-release with every test
get-tools: $(TOOLS)/golangci-lint $(TOOLS)/go-winres $(TOOLS)/session-manager-plugin $(TOOLS)/npm/node_modules ## what tests and lint need

clean: ## remove what builds and runs left here
	rm -rf bin build .run

help: ## this list
	@grep -hE '^[a-z0-9_-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')"
