#!/bin/sh
# aside.sh COMMAND...: runs it over this machine's root, but what it writes lies
# in memory and goes with it; as root only. For programs that do not keep to a
# folder of their own: rpmlint unpacks absolute paths where they say.
exec unshare --mount sh -c '
	mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root &&
	mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root &&
	mount --bind /proc /mnt/root/proc && mount --bind /dev /mnt/root/dev &&
	mount --bind -o ro "$PWD" "/mnt/root$PWD" &&
	exec chroot /mnt/root sh -c "cd \"$PWD\" && exec \"\$@\"" sh "$@"' sh "$@"
