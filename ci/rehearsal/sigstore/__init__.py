"""A local sigstore on 127.0.0.1 for the unmodified client to sign and verify with.

Modules, in reading order: `server` (the instance, its five services, one address), `oidc`
(identity tokens as of GitHub Actions), `authority` (token -> certificate), `log` (signature ->
entry of the transparency log) and `merkle` (its tree), `timestamp` (signature -> signed time),
`keys` (generated on each machine), `trust` (files for clients).
"""
