"""Verification of a release before import.

In reading order: `verify` (from arguments to findings), `release` (the checks of a folder or an
image), `content` (manifest, statements and package lists against the files), `trust` (trusted
signer, trust root, signatures), `report` (all that is printed), `findings` (the results),
`download` (targets on the network), `safe_io` (untrusted files and JSON).
"""
