"""Tests of ci/report."""
