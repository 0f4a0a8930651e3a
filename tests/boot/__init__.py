"""Tests of `ci.boot`."""
