#!/bin/sh
# debian-root.sh DIR: makes a small Debian with systemd in DIR, once.
set -eu
[ -e "$1/etc/debian_version" ] && exit 0
new=$1.new
rm -rf "$new"
mkdir -p "$(dirname "$1")"
debootstrap --variant=minbase --include=systemd,systemd-sysv,init-system-helpers,sudo,procps,rpm bookworm "$new" >&2
rm -rf "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/*
mv "$new" "$1"
