# Print at an interactive login which release this system was installed from, and to root what
# failed at this start and how the user data ended, unless all is well.
case $- in
	*i*)
		if [ -r /etc/snowdrop-release ]; then
			(
				. /etc/snowdrop-release
				printf '%s %s (%s), made from commit %.12s and lock %.12s; see `snowdrop-status`\n' \
					"$NAME" "$VERSION" "$VARIANT" "$COMMIT" "$LOCK"
			)
		fi
		if [ -r /run/snowdrop-init.problems ]; then
			sed 's/^/problem at this start: /' /run/snowdrop-init.problems
		fi
		if [ -r /var/lib/snowdrop/user-data-ended ]; then
			(
				read -r id text </var/lib/snowdrop/user-data-ended
				case $(cat /sys/class/dmi/id/product_serial 2>/dev/null) in
					"$id" | '' | *[!0-9]*) ;;
					# The disk was another droplet, whose ending this is.
					*) text=none ;;
				esac
				case $text in
					none | *'came to its end' | *'it was applied') ;;
					*) printf 'user-data: %s\n' "$text" ;;
				esac
			)
		fi
		;;
esac
