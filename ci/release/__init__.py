"""The parts of a release, and the build of its images.

- `version`: the version of a release
- `checkout`: the release that this checkout builds: source commit, tags, records
- `build_job`: lock, store and sources of a build, and the build of one variant
- `manifest`, `checksums`: release.json and SHA256SUMS
- `locks`, `lock_diff`: locks from files, archives, tags and URLs, and the difference of two

Nothing here imports the packages that boot, sign, publish or verify a release.
"""
