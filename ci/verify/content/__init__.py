"""Content of a release, compared with manifest and statements.

In reading order: `release_index` (manifest, checksums, their signer), `artifacts` (the files that
a release has), `statements` (each kind against the manifest), `facts` (their values), `deep_checks`
(the slower ones), `packages` (SBOM, lock and image).
"""
