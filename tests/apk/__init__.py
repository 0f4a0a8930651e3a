"""Tests of reading and writing Alpine's packages and indexes."""
