#!/usr/bin/env bash
# Installs the tools of `make contract` and `make clients`, pinned, into
# .cache/contract: a Python environment and Node packages. What Debian has and
# the machine lacks comes first. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")"
cache=$PWD/../../.cache/contract
mkdir -p "$cache"

missing=()
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
command -v npm >/dev/null || missing+=(nodejs npm)
command -v javac >/dev/null || missing+=(default-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
if [ ${#missing[@]} -gt 0 ]; then
	echo "installing ${missing[*]}"
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi

# fresh FILE: whether FILE was installed already, as it is.
fresh() { cmp -s "$1" "$cache/installed-$1"; }

if ! fresh requirements.txt; then
	python3 -m venv --clear "$cache/venv"
	"$cache/venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements.txt
	cp requirements.txt "$cache/installed-requirements.txt"
fi
if ! fresh package-lock.json; then
	cp package.json package-lock.json "$cache/"
	npm --prefix "$cache" ci --ignore-scripts --no-audit --no-fund --loglevel=error
	cp package-lock.json "$cache/installed-package-lock.json"
fi
