"""Tests of the conversion to other disk formats."""
