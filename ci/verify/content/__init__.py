"""What manifest and statements say, held against the files that they speak of.

Rooms, in reading order: `head` (manifest, checksums, who signed them), `statements` (each kind
against the manifest), `deep` (what takes longer: the snapshot's own signatures), `packages` (SBOM,
lock and image name the same packages).
"""
