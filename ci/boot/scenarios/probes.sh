#!/bin/sh
# Probes of a boot with a fault, for busybox's shell: the commands below each `## NAME` are run,
# and `assertions.py` reads their output by that name.

## user-data ended
# User data runs in the background, after sshd has started: wait for it, at most 60 s. The
# brackets in the pattern keep grep from matching its own command line.
n=0
while cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q 'snowdrop-init[ ]user-data' &&
    [ $n -lt 60 ]; do
    sleep 1
    n=$((n + 1))
done
echo $n

## runlevel
rc-status --runlevel

## crashed
rc-status --nocolor --crashed 2>/dev/null
true

## host name
hostname

## keys
cat /etc/snowdrop/authorized_keys/root

## host keys
cat /etc/ssh/ssh_host_*_key.pub

## runs
# Each user-data script of the scenarios appends a line to it.
cat /root/runs 2>/dev/null
true

## addresses
ip -4 -o address show

## routes
ip -4 route show default

## traces
# The names of the files that a malicious value of the metadata tries to create.
find / -xdev -name 'owned-by-metadata*' 2>/dev/null
true

## partition
cat /sys/class/block/vda1/size

## file system
df -k / | awk 'END {print $(NF - 4)}'

## log mode
stat -c %a /var/log/snowdrop-init.log

## owner
# What the scenario "what the owner changed" changes.
for file in /etc/hosts /etc/hostname; do
    [ ! -L "$file" ] || echo link
done
cat /etc/hostname
grep -h '^PermitRootLogin' /etc/ssh/sshd_config
true

## cloud
# What the scenarios with a cloud-config make: an account with its groups, and a file.
if grep -q '^ann:' /etc/passwd; then
    awk -F : '$1 == "ann" { print $1 ":" $6 ":" $7 }' /etc/passwd | tr '\n' ':'
    awk -F : '$1 == "ann" { print $2 }' /etc/shadow
    awk -F : '$4 ~ /(^|,)ann(,|$)/ && $1 != "ann" { print $1 }' /etc/group
fi
[ ! -e /srv/cloud/one ] || echo "$(stat -c %a:%U /srv/cloud/one):$(cat /srv/cloud/one)"
true

## output
wc -c </var/log/snowdrop-userdata.log

## empty
find /boot /etc /lib /root /srv /usr /var/lib -xdev -type f -size 0

## litter
# What a power cut could leave empty or unfinished.
find /etc /var/lib/snowdrop /root -xdev -name '*.snowdrop-new'
find /var/lib/snowdrop /etc/snowdrop /etc/ssh /etc/hosts /etc/hostname -xdev -type f -size 0
true
