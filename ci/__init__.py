"""From an image to a verified release.

Packages, in reading order: `commands` (one module a command), `release` (parts of a release),
`boot`, `reproduce` (builds made different on purpose), `attest`, `publish` (GitHub and the
mirror), `verify`, `rehearsal` (all of it on one machine), `report` (console output). Modules:
`__main__` (the entry point: `python -m ci COMMAND`), `config` (release.toml), `environment`
(Python environments and host programs of a session).
"""
