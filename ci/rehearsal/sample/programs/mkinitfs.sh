#!/bin/sh
# Make an initramfs of busybox, the modules of some features, and an init.
#
# Takes the words of Alpine's mkinitfs that a build of an image uses. With SOURCE_DATE_EPOCH the
# same files give the same bytes: names sorted, times set, owners root, inodes renumbered.
# Plain sh and its own static busybox: the system around it may have neither Python nor glibc.

set -eu
umask 022
export LC_ALL=C

usage() {
	cat <<-EOF
	usage: mkinitfs [-n] [-q] [-b BASE] [-c CONFIG] [-F FEATURES] [-P FEATURES_FOLDER]
	                [-i INIT] [-o FILE] [-C gzip|none] [-t FOLDER] [KERNEL_RELEASE]
	EOF
}

fail() {
	echo "mkinitfs: $*" >&2
	exit 1
}

base=/
config=
features_folder=
init=
out=
wanted=
compression=
temporary=
list=
quiet=
while getopts b:c:F:P:i:o:C:t:hnqkl option; do
	case "$option" in
	b) base=$OPTARG ;;
	c) config=$OPTARG ;;
	F) wanted=$OPTARG ;;
	P) features_folder=$OPTARG ;;
	i) init=$OPTARG ;;
	o) out=$OPTARG ;;
	C) compression=$OPTARG ;;
	t) temporary=$OPTARG ;;
	n|l) list=yes ;;
	q) quiet=yes ;;
	k) ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 1 ;;
	esac
done
shift $((OPTIND - 1))
base=${base%/}
release=${1:-$(uname -r)}
config=${config:-$base/etc/mkinitfs/mkinitfs.conf}
features_folder=${features_folder:-$base/etc/mkinitfs/features.d}
init=${init:-$base/usr/share/mkinitfs/initramfs-init}
out=${out:-$base/boot/initramfs-$release}
busybox=$base/usr/share/mkinitfs/busybox
modules=$base/lib/modules/$release

[ -x "$busybox" ] || fail "$busybox: no such program"
[ -r "$init" ] || fail "$init: no such file"
[ -d "$modules/kernel" ] || fail "$modules/kernel: no such folder"

features=base
initfs_compression=
if [ -r "$config" ]; then
	# shellcheck disable=SC1090  # a file of the system
	. "$config"
fi
features=$(echo "${wanted:-$features}" | "$busybox" tr , ' ')
compression=${compression:-${initfs_compression:-gzip}}

tree=$("$busybox" mktemp -d -p "${temporary:-/tmp}")
trap '"$busybox" rm -rf "$tree" "$out.new"' EXIT
trap 'exit 1' HUP INT TERM
root=$tree/root
"$busybox" mkdir -p "$root/bin" "$root/dev" "$root/lib/modules/$release" "$root/proc" \
	"$root/sys" "$root/sysroot"

# Each line of modules.dep is a module and those that it needs, all as paths below $modules.
# Read from the modules themselves: whether a trigger has written the file must not matter.
"$busybox" depmod -n -b "${base:-/}" "$release" 2>/dev/null | "$busybox" awk '
	/^[^ ]*\.ko[^ ]*:/
' > "$tree/modules.dep"

for feature in $features; do
	[ -r "$features_folder/$feature.modules" ] || continue
	while read -r pattern; do
		case "$pattern" in ''|'#'*) continue ;; esac
		# A driver that is built into the kernel has no file; a folder means all in it.
		for module in "$modules"/$pattern; do
			[ -e "$module" ] && "$busybox" find "$module" -name '*.ko*' -type f
		done
	done < "$features_folder/$feature.modules"
done | while read -r module; do
	path=${module#"$modules/"}
	# shellcheck disable=SC2016  # awk's own dollars
	"$busybox" awk -v path="$path" '
		$1 == path ":" { for (i = 2; i <= NF; i++) print $i; print path }
	' "$tree/modules.dep"
done | "$busybox" sort -u > "$tree/modules"

while read -r path; do
	"$busybox" mkdir -p "$root/lib/modules/$release/${path%/*}"
	"$busybox" cp "$modules/$path" "$root/lib/modules/$release/$path"
done < "$tree/modules"
for name in modules.builtin modules.order; do
	[ ! -e "$modules/$name" ] || "$busybox" cp "$modules/$name" "$root/lib/modules/$release/"
done
"$busybox" depmod -b "$root" "$release"
for name in dep alias symbols; do
	sorted=$root/lib/modules/$release/modules.$name
	[ ! -e "$sorted" ] || "$busybox" sort -o "$sorted" "$sorted"
done

"$busybox" cp "$busybox" "$root/bin/busybox"
"$busybox" ln -s busybox "$root/bin/sh"
"$busybox" cp "$init" "$root/init"
"$busybox" find "$root" -type d -exec "$busybox" chmod 755 {} +
"$busybox" find "$root" -type f -exec "$busybox" chmod 644 {} +
"$busybox" chmod 755 "$root/bin/busybox" "$root/init"
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
	"$busybox" find "$root" -exec "$busybox" touch -h -d "@$SOURCE_DATE_EPOCH" {} +
fi

cd "$root"
"$busybox" find . | "$busybox" sed -e 's,^\./,,' -e '/^\.$/d' | "$busybox" sort > "$tree/list"
if [ "$list" ]; then
	"$busybox" cat "$tree/list"
	exit 0
fi
case "$compression" in
gzip) compress="gzip -9" ;;
none) compress="cat" ;;
*) fail "compression $compression, expected gzip or none" ;;
esac
[ "$quiet" ] || echo "==> initramfs: creating $out for $release" >&2
"$busybox" cpio -o -H newc -R 0:0 --renumber-inodes --ignore-devno < "$tree/list" 2>/dev/null \
	> "$tree/cpio"
# shellcheck disable=SC2086  # a program and its words
"$busybox" $compress < "$tree/cpio" > "$out.new"
"$busybox" mv "$out.new" "$out"
