#!/bin/busybox sh

links=
for folder in "$@"; do
	case "$folder" in
	/lib/modules/*)
		[ -d "$folder/kernel" ] || continue
		/bin/busybox depmod "${folder#/lib/modules/}"
		# depmod writes in the order in which the file system names its files.
		for list in dep alias symbols; do
			/bin/busybox sort -o "$folder/modules.$list" "$folder/modules.$list"
		done
		;;
	*) links=yes ;;
	esac
done

if [ "$links" ]; then
	/bin/busybox --install -s 2>/dev/null
	/bin/busybox rm -f /linuxrc
fi
exit 0
