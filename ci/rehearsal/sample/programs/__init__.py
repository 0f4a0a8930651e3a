"""Programs that the sample distribution carries as package content: mkinitfs.sh, apk."""
