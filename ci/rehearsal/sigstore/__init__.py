"""A sigstore of one's own on 127.0.0.1, which the unmodified client signs and verifies with.

Rooms, in reading order: `server` (the instance, its five services, one loopback address),
`oidc` (identity tokens as GitHub Actions gives them), `authority` (token -> certificate),
`log` (signature -> entry of the transparency log) and `merkle` (the log's tree), `timestamp`
(signature -> signed time), `keys` (fresh ones for each machine), `trust` (what clients read).
"""
