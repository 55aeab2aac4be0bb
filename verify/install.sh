#!/usr/bin/env bash
# Installs packages of Debian for the tools that the machine lacks:
# verify/install.sh 'TOOL|OTHER=PACKAGE,PACKAGE'… A tool is a command or a path, which may
# have *; one that is there is enough. Does nothing when all is there.
set -euo pipefail

missing=()
for need in "$@"; do
	found=
	IFS='|' read -ra tools <<<"${need%%=*}"
	for tool in "${tools[@]}"; do
		for path in $tool; do # it may have *
			! command -v "$path" >/dev/null || found=yes
		done
	done
	[ -n "$found" ] || IFS=, read -ra packages <<<"${need#*=}"
	[ -n "$found" ] || missing+=("${packages[@]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || { echo "missing: ${missing[*]}: install it"; exit 1; }
echo "installing ${missing[*]}"
exec 9<"$0" && flock 9 # one at a time
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
"${sudo[@]}" apt-get update -q
# RUNLEVEL=1: a server that comes with a package does not start; the tests start theirs.
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qy --no-install-recommends "${missing[@]}"
