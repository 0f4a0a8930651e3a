# Make a running droplet a new one, for the scenarios of restarts.toml: remove what the service
# and the scenario before have made. A scenario's `prepare` follows, then the service itself.
# The owner's ~/.ssh stays: it is how the scenarios log in.
rm -rf /var/lib/snowdrop/* /etc/snowdrop/authorized_keys/* /root/runs /srv/cloud
rm -f /run/snowdrop-init.ran /run/snowdrop-init.problems /var/log/snowdrop-userdata.log
deluser ann 2>/dev/null
rm -rf /home/ann /etc/sudoers.d/snowdrop-ann /etc/doas.d/snowdrop-ann.conf
printf '127.0.0.1\tlocalhost\n' >/etc/hosts
echo localhost >/etc/hostname
hostname localhost
[ -e /root/resolv.conf ] || cp /etc/resolv.conf /root/resolv.conf
cp /root/resolv.conf /etc/resolv.conf
# A scenario without keys sets `patience`; it must not ask for an hour afterwards.
echo patience_later=3 >/etc/conf.d/snowdrop-init
