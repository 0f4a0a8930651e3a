"""Verification of a release before import.

In reading order: `verify` (from arguments to findings), `target` (what is verified, and the tag
that it names), `release` (the checks of a folder or an image), `content` (manifest, statements and
package lists against the files), `trust` (trusted signer, trust root, signatures), `report` (all
that is printed), `findings` (the results and the verdict), `download` (a release from a server),
`safe_io` (untrusted files and JSON).

An import calls `release.verify_release` or `release.verify_image`, and then
`Findings.require_verified`, which refuses everything but Verdict.VERIFIED.
"""
