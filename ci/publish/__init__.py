"""Publish a signed release at GitHub, and mirror it to an S3 bucket.

- `publish`: draft, upload, read back, publish (read first); `mirror`: the same files in the bucket
- `adopt`: bundles of an earlier run are kept when they verify
- `attestations`: the provenance in GitHub's attestation store (edge, but for the plan)
- `drafts`: the drafts of one release, which one is filled and which are removed
- `release_files`: the files in dist, each hashed again
- `plan`: which files to remove, upload and keep; URLs (pure)
- `notes`: the release notes (pure but for the statement of changes)
- `summary`: what jobs of the workflow and a rehearsal print of a release
- `proposal`: one pull request, updated in place (edge)
- `transfer`: upload and download with progress and limits (edge)
- `github_calls`: requests to GitHub that are repeated safely (edge)
- `github_release`: client of GitHub's releases (edge)
"""
