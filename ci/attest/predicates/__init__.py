"""Predicates of the statements: one module each, from values to JSON's types.

- `release`: all statements of a release (read first)
- `provenance`: how the release was built, and from which bytes
- `packages`: package URLs of package files
- `sbom`: the packages of an image
- `snapshot`: the signatures of indexes and packages, verified again
- `boot`: the result of the boot
- `difference`: the changes since the previous release
"""
