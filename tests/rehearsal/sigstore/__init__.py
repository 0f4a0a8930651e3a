"""Tests of the local sigstore with the unmodified client."""
