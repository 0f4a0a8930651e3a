"""Tests of `ci.publish`."""
