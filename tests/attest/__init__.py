"""Tests of ci/attest."""
