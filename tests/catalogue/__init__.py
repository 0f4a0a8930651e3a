"""Tests of the catalogue of a mirror."""
