"""From finished artifacts to a signed release.

Rooms, in reading order: `command` (the `sign` command), `walk` (records -> signed release, one
call a line), `collect` (every file hashed again), `source` (source.tar), `manifest`
(release.json and all names; its schema stands beside it), `checksums` (SHA256SUMS),
`predicates` (what is said: provenance, SBOM, ...), `statements` (in-toto, and the types of our
own), `signing` (where sigstore is touched).
"""
