#!/bin/sh
# After the files are there: user, directories, empty files for the keys. A second run
# changes nothing that the operator has set.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers recapito.conf
elif ! getent passwd recapito >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/recapito --shell /usr/sbin/nologin recapito
fi
chown root:recapito /etc/recapito
[ ! -e /etc/recapito/recapito.env ] || chown root:recapito /etc/recapito/recapito.env
install -d -o recapito -g recapito -m 0700 /var/lib/recapito
for key in secret-key platform-key; do
	[ -e /etc/recapito/$key ] || install -o root -g recapito -m 0640 /dev/null /etc/recapito/$key
done
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart recapito.service # the version before, if it runs
fi
