"""The local packages of an image: first boot, identity of the release, maintainer's files.

Reading order: `files/` (the files of snowdrop-init with their paths on the droplet, starting with
`usr/libexec/snowdrop-init`; docs/first-boot.md describes the order of the boot), `overlay` (the
maintainer's files), `removal` (what stays when a package is removed), `packages` (all of them as
signed `.apk` files with an index).
"""
