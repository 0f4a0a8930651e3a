# Print at an interactive login which release this system was installed from.
case $- in
	*i*)
		if [ -r /etc/snowdrop-release ]; then
			(
				. /etc/snowdrop-release
				printf '%s %s (%s), made from commit %.12s and lock %.12s; see `snowdrop-status`\n' \
					"$NAME" "$VERSION" "$VARIANT" "$COMMIT" "$LOCK"
			)
		fi
		;;
esac
