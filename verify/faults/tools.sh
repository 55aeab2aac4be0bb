#!/usr/bin/env bash
# Installs what the scenarios of `make faults` use and the machine lacks, on
# Debian and as root. Elsewhere the scenarios say themselves what is missing.
# Does nothing when all is there.
set -euo pipefail

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
"$(dirname "$0")/../install.sh" {mkfs.xfs,xfs_io}=xfsprogs mkfs.ext4=e2fsprogs strace=strace \
	mount=mount {unshare,prlimit}=util-linux ip=iproute2 \
	'initdb|/usr/lib/postgresql/*/bin/initdb=postgresql'
