"""Content of a release, compared with manifest and statements.

In reading order: `release_index` (manifest, checksums, their signer), `statements` (each kind
against the manifest), `deep_checks` (the slower ones), `packages` (SBOM, lock and image).
"""
