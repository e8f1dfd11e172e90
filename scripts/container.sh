#!/bin/sh
# container.sh ROOT [--read-only] [--tmpfs DIR] [-v FROM:TO] [-e NAME=VALUE]
# [--copy FROM:TO]… -- COMMAND…: runs COMMAND as the first process of a container
# whose root is the folder ROOT, which nothing is written to. The options are
# those of `docker run`, where FROM must be a path, and --copy is COPY of a
# Dockerfile. To be run as root by
#   unshare --mount --pid --fork --kill-child
# It says its process id outside, and then is COMMAND.
set -eu
read -r pid _ </proc/self/stat # of the outer name space: its /proc is still here
root=/mnt/root
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" overlay "$root"
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
printf '%s\n' PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin >/mnt/env
protect=
while [ "$1" != -- ]; do
	case $1 in
	--read-only) protect=yes ;;
	--tmpfs)
		mkdir -p "$root$2"
		mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root$2"
		shift
		;;
	-v | --copy)
		from=${2%%:*} to=$root${2#*:}
		mkdir -p "$(dirname "$to")"
		if [ "$1" = --copy ]; then
			case $to in */) mkdir -p "$to" ;; esac
			cp -R "$from" "$to"
		else
			if [ -d "$from" ]; then mkdir -p "$to"; else touch "$to"; fi
			mount --bind "$from" "$to"
		fi
		shift
		;;
	-e)
		printf '%s\n' "$2" >>/mnt/env
		shift
		;;
	*)
		echo "option $1 is unknown" >&2
		exit 2
		;;
	esac
	shift
done
shift
[ -z "$protect" ] || mount -o remount,ro,bind "$root"
echo "the container is process $pid"
while read -r line; do set -- "$line" "$@"; done </mnt/env
exec chroot "$root" env -i "$@"
