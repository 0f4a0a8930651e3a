"""Which release this is, the steps that make its image, and what is told about locks.

- `checkout`: version, source commit and records of the release that this checkout builds
- `pin_command`: release.toml -> release.lock and store
- `locks`, `differences`, `diff_command`: what another lock would change
- `store_command`: is the store whole, and what of it is not needed
- `build_command`: lock and store -> image and build record
- `archive_command`: lock and store -> the snapshot as one file
"""
