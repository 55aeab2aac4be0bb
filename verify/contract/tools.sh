#!/usr/bin/env bash
# Installs the tools of `make contract` and `make clients`, pinned, into
# .cache/contract: a Python environment and Node packages. What Debian has and
# the machine lacks comes first. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")"
cache=$PWD/../../.cache/contract
mkdir -p "$cache"

needs=('npm=nodejs,npm' javac=default-jdk-headless mvn=maven)
python3 -c 'import ensurepip, venv' 2>/dev/null || needs+=(=python3-venv)
../install.sh "${needs[@]}"

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
