"""Whose signatures over identities, times and the log are believed.

Rooms, in reading order: `command` (the `trust` command), `person` (whom the person who verifies
trusts), `policy` (what a certificate must name), `root` (a trust root's parties, and whether a
bundle comes from them), `bundles` (where sigstore checks a signature), `refresh` (the public root
anew, by TUF). `trusted_root.json` is the reviewed copy of the public one; README.md says where
it is from.
"""
