"""From packages to a disk image: config, errors, apk, snapshot, firstboot, inside, edges, image."""
