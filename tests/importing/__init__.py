"""Tests of the import at DigitalOcean's double."""
