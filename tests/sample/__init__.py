"""Tests of the sample distribution: its packages and its own apk."""
