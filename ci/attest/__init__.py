"""From finished artifacts to a signed release.

- `sign`: records -> signed release, one call a line (read first)
- `collect`: the files of the release, hashed again
- `source`: source.tar
- `statements`: in-toto statements, and the predicate types of our own
- `predicates/`: the contents of the statements: provenance, SBOM, ...
- `sigstore_client`: the only module that uses sigstore's client
"""
