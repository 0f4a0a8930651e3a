"""Tests of ci/release: build job, manifest, checksums, version."""
