"""Tests of the services that a rehearsal runs in place of GitHub and sigstore."""
