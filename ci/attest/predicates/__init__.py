"""What the statements say: a module a predicate, values in, JSON's types out.

Rooms, in reading order: `release` (all statements of a release), `provenance` (how it was built,
from which bytes), `packages` (package files by package URL), `sbom` (what an image holds),
`snapshot` (signatures of indexes and packages, checked again), `boot` (that the image came up),
`difference` (what changed since the release before).
"""
