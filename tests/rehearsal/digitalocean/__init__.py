"""Tests of the DigitalOcean double."""
