#!/bin/sh
# vm.sh ROOT PACKAGES DIR: boots a machine of qemu's, without KVM, from a copy of
# the Debian in ROOT, and lives the life of the package there (vm-life.sh), with
# old.deb and new.deb of PACKAGES. It has a kernel and control groups of its own,
# which a container has not. Everything is made in DIR. As root only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$1 packages=$2 dir=$3
mkdir -p "$dir"
cd "$dir"
if [ ! -d kernel/boot ]; then
	rm -rf kernel && mkdir kernel
	name=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p')
	(cd kernel && apt-get download -q "$name" && dpkg-deb -x ./*.deb . && rm ./*.deb)
fi

rm -rf initrd && mkdir -p initrd/bin initrd/proc initrd/sys initrd/dev initrd/root
cp /bin/busybox initrd/bin/
# In this order: each needs those before it.
modules='virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk'
for module in $modules; do
	find kernel -name "$module.ko" -exec cp {} initrd/ \;
done
cat >initrd/init <<END
#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
for module in $modules; do [ ! -e /\$module.ko ] || busybox insmod /\$module.ko; done
busybox mount -t ext4 /dev/vda /root
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
END
chmod +x initrd/init
(cd initrd && find . | cpio -o -H newc --quiet | gzip -1) >initrd.gz

rm -rf root && cp -a "$root" root
mkdir root/packages && cp "$packages/old.deb" "$packages/new.deb" root/packages/
install -m 755 "$here/vm-life.sh" root/life.sh
cat >root/etc/systemd/system/life.service <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/life.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStopPost=/bin/systemctl poweroff --force
END
mkdir -p root/etc/systemd/system/default.target.wants
ln -sf /etc/systemd/system/life.service root/etc/systemd/system/default.target.wants/
mke2fs -q -F -t ext4 -d root disk.img 900M
rm -rf root
timeout "${VM_PATIENCE:-900}" qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -machine q35,accel=tcg -smp 2 -m 1024 \
	-kernel kernel/boot/vmlinuz-* -initrd initrd.gz -drive file=disk.img,format=raw,if=virtio -serial stdio \
	-append 'console=ttyS0 quiet panic=-1 systemd.show_status=0 tsc=reliable mitigations=off net.ifnames=0' </dev/null | tee out
grep -q '^the life is over' out # powering off says nothing of how it was
