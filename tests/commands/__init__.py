"""Tests of ci/commands, run as a maintainer runs them."""
