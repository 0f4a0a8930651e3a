"""From finished artifacts to a signed release.

Rooms, in reading order: `command` (the `sign` command), `walk` (records -> signed release, one
call a line), `collect` (every file hashed again), `manifest` (release.json and all names),
`checksums` (SHA256SUMS), `statements` (in-toto, and the types of our own), `provenance` (SLSA),
`signing` (where sigstore is touched).
"""
