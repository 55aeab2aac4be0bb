#!/usr/bin/env bash
# Installs what the scenarios of `make faults` use and the machine lacks, on
# Debian and as root. Elsewhere the scenarios say themselves what is missing.
# Does nothing when all is there.
set -euo pipefail

declare -A packages=(
	[mkfs.xfs]=xfsprogs [xfs_io]=xfsprogs [mkfs.ext4]=e2fsprogs [strace]=strace
	[mount]=mount [unshare]=util-linux [prlimit]=util-linux [ip]=iproute2
)
missing=()
for tool in "${!packages[@]}"; do
	command -v "$tool" >/dev/null || missing+=("${packages[$tool]}") # twice does no harm
done
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing ${missing[*]}"
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi
