"""Tests of ci/release: the commands as a maintainer types them."""
