"""A local sigstore on 127.0.0.1 for the unmodified client to sign and verify with.

Modules, in reading order: `server` (the instance, its six services, one address), `oidc`
(identity tokens as of GitHub Actions), `authority` (token -> certificate), `rekor_v1` and
`rekor_v2` (signature -> entry of a transparency log), `log` (its entries), `merkle` (its tree)
and `note` (its key and signed heads), `timestamp` (signature -> signed time), `keys` (generated
on each machine), `trust` (files for clients), `encoding`.
"""
