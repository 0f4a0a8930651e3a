"""Content of a release, compared with what manifest and statements say.

In reading order: `release_index` (manifest, checksums, their signer), `statements` (each kind
against the manifest), `deep_checks` (the slower ones), `packages` (SBOM, lock and image).
"""
