"""What a droplet runs first and what says which release it is, as local packages.

Reading order: `files/` (what snowdrop-init brings, as it lies on the droplet; begin with
`usr/libexec/snowdrop-init`; docs/first-boot.md tells the order), overlay (the maintainer's own
files), packages (all of it as signed `.apk` files with an index).
"""
