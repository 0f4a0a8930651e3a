"""Tests of the double of GitHub."""
