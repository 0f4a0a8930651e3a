"""Tests of reading release.toml."""
