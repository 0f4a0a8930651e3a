"""A whole release on one machine, with embedded services.

Modules, in reading order: `rehearse` (the steps in order, as separate processes), `contents` (the
packages), `configuration` (the rehearsal's own release.toml), `services` (processes that are
started and ended), `http_server` (HTTP for the doubles), `sample/` (packages made from Debian's),
`sigstore/`, `github/` and `s3` (the embedded services), `runner/` (a GitHub runner, which runs the
workflows).
"""
