#!/bin/sh
# fresh-root.sh PROGRAM [SIZE]: a root of its own over this machine's: what is
# written there lies in memory (SIZE, 64m), nobody outside sees it, and it goes
# with this process. It has the real tools, no ssm-user, and the accounts ada
# and toor; PROGRAM is amazon-ssm-agent in it. To be run as root by
#   unshare --mount --pid --fork --kill-child
# It prints the process id that nsenter wants, and then waits.
set -eu
read -r pid _ </proc/self/stat # of the outer name space: its /proc is still here
program=$1
root=/mnt/root
mount -t tmpfs -o "size=${2:-64m},mode=755" tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay -o "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
# What the agent itself keeps is not what these tests are about.
for dir in etc/amazon var/lib/amazon var/log tmp; do
	mkdir -p "$root/$dir"
	mount -t tmpfs -o mode=755 tmpfs "$root/$dir"
done
chmod 1777 "$root/tmp"
touch "$root/usr/bin/amazon-ssm-agent"
mount --bind "$program" "$root/usr/bin/amazon-ssm-agent"
for file in passwd shadow group gshadow; do
	[ ! -f "$root/etc/$file" ] || sed -i '/^\(ssm-user\|ada\|toor\):/d' "$root/etc/$file"
done
rm -rf "$root/home/ssm-user" "$root/home/ada" "$root/etc/sudoers.d/ssm-agent-users"
chroot "$root" useradd -m -s /bin/bash -G audio ada
chroot "$root" useradd -M -o -u 0 -d /root toor 2>/dev/null
touch "$root/.fresh-root" # by which the caller knows that it is not at home
exec chroot "$root" sh -c 'echo "$1"; exec sleep infinity' sh "$pid"
