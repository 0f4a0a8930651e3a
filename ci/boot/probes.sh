#!/bin/sh
# Probes of a normal boot, for busybox's shell: `checks.py` runs the commands below each `## NAME`
# and reads their output by that name.

## user
id -un

## host name
hostname

## address
ip -4 -o address show dev eth0

## route
ip -4 route show default

## release
cat /etc/snowdrop-release

## distribution
cat /etc/alpine-release

## services
rc-status --nocolor --all 2>&1 || rc-status --all

## crashed
rc-status --nocolor --crashed 2>/dev/null
true

## runlevel
rc-status --runlevel

## root
awk '$5 == "/"' /proc/self/mountinfo

## root device
device=$(awk '$5 == "/" {n = $3} END {print n}' /proc/self/mountinfo)
cat "/sys/dev/block/$device/uevent"

## shadow
# Never the hash itself: the report is published. `*` and `!` lock a password (shadow(5)).
awk -F: '{print $1, ($2 == "" ? "none" : $2 ~ /^[*!]+$/ ? $2 : "set")}' /etc/shadow

## host keys
stat -c '%Y %n' /etc/ssh/ssh_host_*_key

## service times
: >/run/snowdrop-now
read -r seconds _ </proc/uptime
echo "uptime $seconds"
stat -c '%z %n' /run/snowdrop-now /run/openrc/started/*
rm -f /run/snowdrop-now

## sockets
for table in tcp tcp6 udp udp6; do
    # Without IPv6 in the kernel, two of them are absent.
    [ ! -e "/proc/net/$table" ] || sed "s/^/$table /" "/proc/net/$table"
done

## boot time
awk '$1 == "btime" {print $2}' /proc/stat

## kernel
uname -sr
