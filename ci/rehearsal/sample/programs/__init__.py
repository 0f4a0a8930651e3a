"""Programs that the sample distribution contains in packages: mkinitfs.sh, apk."""
