"""Tests of ci/reproduce: the comparison, the varied process, the virtual machine."""
