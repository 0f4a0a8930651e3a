"""Which release this is, the steps that make its image, and what is told about locks.

- `checkout`: version, source commit and records of the release that this checkout builds
- `pin_command`: release.toml -> release.lock and store
- `locks`, `differences`, `diff_command`: what another lock would change
- `store_command`: is the store whole, and what of it is not needed
- `build_command`: lock and store -> image and build record; `order` is what it builds from
- `prove/`: the same bytes from builds that differ in everything that must not matter
- `archive_command`: lock and store -> the snapshot as one file
"""
