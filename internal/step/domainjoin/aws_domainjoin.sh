#!/bin/sh
# Joins this machine to a directory of AWS Directory Service.
umask 077
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive

id= name= region= ou= host= digits= keep= dns=
while [ $# -gt 0 ]; do
  case $1 in
    --directory-id) id=$2; shift 2 ;;
    --directory-name) name=$2; shift 2 ;;
    --instance-region) region=$2; shift 2 ;;
    --directory-ou) ou=$2; shift 2 ;;
    --set-hostname) host=$2; shift 2 ;;
    --set-hostname-append-num-digits) digits=$2; shift 2 ;;
    --keep-hostname) keep=1; shift ;;
    --dns-addresses) dns=$(printf %s "$2" | tr , ' '); shift 2 ;;
    *) echo "unknown argument $1" >&2; exit 1 ;;
  esac
done
realm=$(printf %s "$name" | tr '[:lower:]' '[:upper:]')

fail() { echo "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# trusted finds a program that nobody but root can have changed.
trusted() {
  file=$(command -v "$1") || fail "$1 is not installed"
  file=$(readlink -f "$file")
  [ "$(stat -c %u "$file")" = 0 ] && [ -z "$(find "$file" -perm /022)" ] || fail "$file is not root's alone: others can change it"
}

# again runs a command a number of times, with a pause, until it succeeds.
again() {
  tries=$1 pause=$2; shift 2
  while ! "$@"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep "$pause"
  done
}

joined() { has realm && realm list 2>/dev/null | grep -qixE "[[:space:]]*domain-name: $(printf %s "$name" | sed 's/[.]/[.]/g')"; }

packages() {
  if has apt-get; then
    apt-get update -qq && apt-get install -y -qq realmd adcli winbind libnss-winbind libpam-winbind samba-common-bin krb5-user ldap-utils python3 unzip curl packagekit
  elif has yum; then
    yum -y -q install realmd adcli samba-winbind samba-winbind-clients samba-common-tools oddjob oddjob-mkhomedir krb5-workstation openldap-clients python3 unzip curl
  elif has zypper; then
    zypper -n -q install realmd adcli samba-winbind samba-client krb5-client openldap2-client python3 unzip curl
  else
    fail "there is none of apt-get, yum and zypper to install realmd with"
  fi
}

cli() {
  for aws in /usr/local/bin/aws /usr/bin/aws; do
    [ -x "$aws" ] && return
  done
  (cd "$work" && curl -fsS -o cli.zip "https://awscli.amazonaws.com/awscli-exe-linux-$(uname -m).zip" && unzip -q cli.zip && ./aws/install) >&2 || fail "the AWS CLI is not installed and cannot be"
  aws=/usr/local/bin/aws
}

# member prints one member of a JSON object on standard input.
member() { python3 -c 'import json, sys; v = json.load(sys.stdin)
for k in sys.argv[1:]: v = v[int(k)] if isinstance(v, list) else v.get(k) or ""
print(" ".join(v) if isinstance(v, list) else v)' "$@" 2>/dev/null; }

resolver() {
  [ -n "$dns" ] || dns=$(member DirectoryDescriptions 0 DnsIpAddrs <"$work/directory")
  [ -n "$dns" ] || fail "the directory's DNS addresses are not known; give dnsIpAddresses"
  found=$(getent ahostsv4 "$name" | cut -d' ' -f1)
  for a in $dns; do
    case " $(echo $found) " in *" $a "*) return ;; esac
  done
  has resolvectl && device=$(ip -o route show default | sed 's/.* dev \([^ ]*\).*/\1/;q') && [ -n "$device" ] &&
    resolvectl dns "$device" $dns && resolvectl domain "$device" "$name" && return
  { echo "search $name"; for a in $dns; do echo "nameserver $a"; done; } >"$work/resolv.conf"
  chmod 644 "$work/resolv.conf" && cp "$work/resolv.conf" /etc/resolv.conf || fail "/etc/resolv.conf cannot be written"
}

secret() {
  secret=aws/directory-services/$id/seamless-domain-join
  owner=$(member DirectoryDescriptions 0 OwnerDirectoryDescription AccountId <"$work/directory")
  if [ -n "$owner" ]; then
    of=$(member DirectoryDescriptions 0 OwnerDirectoryDescription DirectoryId <"$work/directory")
    secret=arn:aws:secretsmanager:$region:$owner:secret:aws/directory-services/$of/seamless-domain-join
  fi
  "$aws" secretsmanager get-secret-value --region "$region" --secret-id "$secret" --query SecretString --output text >"$work/secret" ||
    fail "the secret $secret cannot be read; the node's role needs secretsmanager:GetSecretValue"
  user=$(member awsSeamlessDomainUsername <"$work/secret")
  member awsSeamlessDomainPassword <"$work/secret" | tr -d '\n' >"$work/password"
  rm -f "$work/secret"
  [ -n "$user" ] && [ -s "$work/password" ] || fail "the secret $secret lacks awsSeamlessDomainUsername or awsSeamlessDomainPassword"
}

# numbered finds a number that no computer of the directory has at its end.
numbered() {
  n=0 last=$(printf '%0*d' "$digits" 0 | tr 0 9) base=DC=$(printf %s "$name" | sed 's/[.]/,DC=/g')
  while [ "$n" -lt "$last" ]; do
    n=$((n + 1))
    try=$host$(printf '%0*d' "$digits" "$n")
    ldapsearch -LLL -H "ldap://$name" -ZZ -D "$user@$name" -y "$work/password" -b "$base" "(sAMAccountName=$try\$)" dn >"$work/found" || fail "the directory cannot be asked for computers"
    grep -q ^dn: "$work/found" || { host=$try; return; }
  done
  fail "every number of $digits digits behind $host is taken"
}

names() {
  [ -n "$keep" ] && return
  if [ -z "$host" ]; then
    host=EC2AMAZ-$(tr -dc A-Z0-9 </dev/urandom | head -c 6)
  elif [ -n "$digits" ]; then
    numbered
  fi
  [ "${#host}" -le 15 ] || fail "the host name $host has more than 15 characters"
  hostnamectl set-hostname "$host.$name" || fail "the host name cannot be set"
}

logins() {
  [ -f /etc/ssh/sshd_config ] || return 0
  sed -i 's/^[#[:space:]]*PasswordAuthentication[[:space:]].*/PasswordAuthentication yes/' /etc/ssh/sshd_config
  grep -q '^PasswordAuthentication yes' /etc/ssh/sshd_config || echo 'PasswordAuthentication yes' >>/etc/ssh/sshd_config
  systemctl reload sshd 2>/dev/null || systemctl reload ssh 2>/dev/null || true
}

accounts() {
  for list in passwd group; do
    grep -q "^$list:.*winbind" /etc/nsswitch.conf || sed -i "s/^$list:.*/& winbind/" /etc/nsswitch.conf
  done
  [ -f /etc/samba/smb.conf ] && sed -i '/^[[:space:]]*\(template shell\|winbind use default domain\)/d; s/^\[global\]/&\n   template shell = \/bin\/bash\n   winbind use default domain = no/' /etc/samba/smb.conf
  systemctl restart winbind 2>/dev/null || true
}

join() { realm join --client-software=winbind ${ou:+"--computer-ou=$ou"} --user="$user" "$realm" <"$work/password"; }

if joined; then
  echo "The machine is in $name already."
  exit 0
fi
work=$(mktemp -d) || fail "no temporary directory can be made"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
again 8 30 packages >&2 || fail "the packages for joining cannot be installed"
for tool in realm python3 ldapsearch hostnamectl; do trusted "$tool"; done
cli
trusted "$aws"
"$aws" ds describe-directories --region "$region" --directory-ids "$id" --output json >"$work/directory" 2>"$work/error" || { cat "$work/error" >&2; echo '{}' >"$work/directory"; }
resolver
secret
names
logins
again 10 10 join || fail "realm join failed"
accounts
