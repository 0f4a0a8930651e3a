"""Tests of `ci.preflight`."""
