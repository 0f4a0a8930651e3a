"""From an image to a verified release.

Rooms, in reading order: `release` (which release this is; pin and build), `boot`, `attest`,
`publish` (GitHub and the mirror), `verify`, `rehearsal` (all of it on one machine), `report` (what
a person sees); `config` (release.toml), `environment` (what a session stands on), `__main__` (the
door: `python -m ci COMMAND`).
"""
