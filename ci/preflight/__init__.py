"""Checks before a release begins: all of them run, and each failure says what to do.

- `checks`: one check as a row, and the runner that turns errors into rows (pure)
- `release`: lock, version, tag, repository, branch, earlier releases
- `kept`: the snapshot of the lock is kept where the build looks for it
- `workflow`: the workflows of the checkout can make this release
- `bucket`: a small object is written, read without an account, and removed
- `settings`: what protects a release at GitHub, for `doctor`
- `machine`: programs and room on this machine
"""
