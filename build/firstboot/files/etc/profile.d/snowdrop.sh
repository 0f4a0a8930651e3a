# Say at an interactive login what this system was made from.
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
