"""A double of GitHub's releases, checked in both directions against GitHub's API description.

Modules, in reading order: `__main__` (starts it as a separate process), `server` (routes, checks,
faults, downloads), `operations` (what each operation does; further ones in `attestations`,
`proposals`, `settings`), `responses` (JSON of a release),
`state` (releases, assets and tags), `description` (where GitHub differs from openapi.json).
NOTICE has the licence of openapi.json, which tests/rehearsal/cut_openapi.py makes.
"""
