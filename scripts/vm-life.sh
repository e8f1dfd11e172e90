#!/bin/sh
# vm-life.sh: the life of the Debian package on the machine that this is: a
# virtual one, see vm.sh. It says each stage and how long it took.
set -eu
began=$(date +%s)
stage() {
	now=$(date +%s)
	printf '%4d s  %s\r\n' $((now - began)) "$1"
	began=$now
}
wait_for() {
	for i in $(seq 300); do
		if "$@" >/tmp/out 2>&1; then return; fi
		sleep 1
	done
	echo "waited in vain: $*"
	cat /tmp/out
	systemctl status --no-pager amazon-ssm-agent
	exit 1
}
online() { ssm-local nodes | grep "$1" | grep Online | grep "$2"; }
agent() { systemctl show --value --property="$1" amazon-ssm-agent; }
waiting() { agent StatusText | grep '^waits for a registration'; }

echo "127.0.0.1 localhost $(hostname)" >/etc/hosts
ip link set lo up 2>/dev/null || true
stage "the machine is up"
dpkg -i /packages/old.deb >/dev/null 2>&1
wait_for waiting
stage 'installed; the unit waits for the registration'
systemd-run --quiet --unit=ssm-local ssm-local serve
wait_for ssm-local node-config -here
ssm-local node-config -here >/etc/amazon/ssm/amazon-ssm-agent.json
register=$(ssm-local activate)
$register >/dev/null 2>&1
node=$(sed 's/.*"ManagedInstanceID":"\([^"]*\)".*/\1/' /var/lib/amazon/ssm/registration)
wait_for online "$node" 3.3.9000.0
stage 'registered and online'
ssm-local run "$node" -- 'until grep -q /ssmagent-command-.*scope /proc/self/cgroup; do sleep 0.1; done'
stage 'a command, in a scope of its own'
[ "$(ssm-local exec "$node" -- sh -c 'id -un; sudo -n id -u' | tr '\n' ' ')" = 'ssm-user 0 ' ]
stage 'a session as ssm-user, with sudo'
ssm-local run "$node" -- 'touch /tmp/runs; until [ -e /tmp/open ]; do sleep 0.1; done; echo lived on' >/tmp/said &
wait_for test -e /tmp/runs
dpkg -i /packages/new.deb >/dev/null 2>&1
wait_for online "$node" 3.3.9001.0
touch /tmp/open
wait $!
grep -q 'lived on' /tmp/said
stage 'upgrade; a command lived on'
mkdir -p /etc/systemd/system/amazon-ssm-agent.service.d
printf '[Service]\nRestartSec=2\n' >/etc/systemd/system/amazon-ssm-agent.service.d/soon.conf
systemctl daemon-reload
systemctl restart amazon-ssm-agent
before=$(agent MainPID)
systemctl kill --kill-whom=main --signal=KILL amazon-ssm-agent
restarted() { [ "$(agent MainPID)" != "$before" ] && [ "$(agent ActiveState)" = active ]; }
wait_for restarted
wait_for online "$node" 3.3.9001.0
stage 'started again after SIGKILL'
dpkg --purge amazon-ssm-agent >/dev/null 2>&1
[ ! -e /var/lib/amazon ] && id ssm-user >/dev/null
stage 'purged; ssm-user stays'
printf 'the life is over\r\n'
