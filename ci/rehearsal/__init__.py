"""The whole release on one machine, with embedded services.

Rooms, in reading order: `command` (the `rehearse` command), `walk` (the steps in order, as separate
processes), `configuration` (the rehearsal's own release.toml: the only difference from a real
release), `services` (what is started and ended), `sample/` (packages made from Debian's),
`sigstore/`, `github/` and `s3` (the embedded services).
"""
