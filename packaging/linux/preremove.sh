#!/bin/sh
# Before the files go: Debian says "remove", RPM 0 for the last version. An upgrade
# leaves the service running until the new version restarts it.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now recapito.service
	fi
	;;
esac
