#!/bin/sh
# After the files are gone. Only Debian's purge removes keys and data; the user stays,
# since its number may own files elsewhere.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/recapito /etc/recapito
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
