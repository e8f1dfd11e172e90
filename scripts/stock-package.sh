#!/bin/sh
# stock-package.sh DIR: makes stock.deb and stock.rpm in DIR: packages with the
# names, paths and scripts of the stock agent's, and programs that only wait.
set -eu
out=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
version=3.3.3000.0
tree=$scratch/tree

# lay UNITDIR: the files, with the unit where the kind of package has it.
lay() {
	rm -rf "$tree"
	mkdir -p "$tree/usr/bin" "$tree/etc/amazon/ssm" "$tree/etc/init" "$tree$1"
	printf '#!/bin/sh\n/usr/bin/ssm-document-worker &\nexec sleep infinity\n' >"$tree/usr/bin/amazon-ssm-agent"
	printf '#!/bin/sh\nexec sleep infinity\n' >"$tree/usr/bin/ssm-document-worker"
	for program in ssm-agent-worker ssm-session-worker ssm-session-logger ssm-cli; do
		cp "$tree/usr/bin/ssm-document-worker" "$tree/usr/bin/$program"
	done
	chmod 755 "$tree"/usr/bin/*
	echo '{}' >"$tree/etc/amazon/ssm/amazon-ssm-agent.json.template"
	echo '<seelog/>' >"$tree/etc/amazon/ssm/seelog.xml.template"
	printf 'respawn\nexec /usr/bin/amazon-ssm-agent\n' >"$tree/etc/init/amazon-ssm-agent.conf"
	cat >"$tree$1/amazon-ssm-agent.service" <<-'EOF'
		[Unit]
		Description=amazon-ssm-agent
		After=network-online.target

		[Service]
		Type=simple
		WorkingDirectory=/usr/bin/
		ExecStart=/usr/bin/amazon-ssm-agent
		KillMode=process
		Restart=always
		RestartPreventExitStatus=194
		RestartSec=90

		[Install]
		WantedBy=multi-user.target
	EOF
}

lay /lib/systemd/system
mkdir -p "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<EOF
Package: amazon-ssm-agent
Version: $version-1
Architecture: amd64
Section: admin
Priority: optional
Maintainer: Nobody <nobody@example.org>
Description: stands in for the stock agent in tests
EOF
printf '%s\n' /etc/init/amazon-ssm-agent.conf /lib/systemd/system/amazon-ssm-agent.service >"$tree/DEBIAN/conffiles"
printf '#!/bin/sh\nsystemctl stop amazon-ssm-agent || true\nsystemctl daemon-reload\n' >"$tree/DEBIAN/preinst"
printf '#!/bin/sh\nsystemctl enable amazon-ssm-agent\nsystemctl start amazon-ssm-agent\nsystemctl daemon-reload\n' >"$tree/DEBIAN/postinst"
printf '#!/bin/sh\nsystemctl stop amazon-ssm-agent || true\nsystemctl disable amazon-ssm-agent || true\nsystemctl daemon-reload\n' >"$tree/DEBIAN/prerm"
chmod 755 "$tree/DEBIAN/preinst" "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
dpkg-deb --root-owner-group -Zgzip --build "$tree" "$out/stock.deb" >/dev/null

lay /etc/systemd/system
cat >"$scratch/stock.spec" <<EOF
Name: amazon-ssm-agent
Version: $version
Release: 1
Summary: stands in for the stock agent in tests
License: none
AutoReqProv: no
%description
It only waits.
%install
cp -a $tree/. %{buildroot}/
%files
/usr/bin/*
/etc/amazon/ssm/amazon-ssm-agent.json.template
/etc/amazon/ssm/seelog.xml.template
%config(noreplace) /etc/init/amazon-ssm-agent.conf
%config(noreplace) /etc/systemd/system/amazon-ssm-agent.service
%pre
if [ \$1 -ge 2 ]; then systemctl stop amazon-ssm-agent; systemctl daemon-reload; fi
%preun
if [ \$1 -eq 0 ]; then systemctl stop amazon-ssm-agent; systemctl disable amazon-ssm-agent; systemctl daemon-reload; fi
%posttrans
systemctl enable amazon-ssm-agent; systemctl start amazon-ssm-agent; systemctl daemon-reload
EOF
rpmbuild --quiet -bb --define "_topdir $scratch/rpm" --define "_rpmdir $scratch/out" --define '_build_id_links none' --target x86_64 "$scratch/stock.spec" >/dev/null
mv "$scratch"/out/x86_64/*.rpm "$out/stock.rpm"
