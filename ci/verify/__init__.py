"""From what somebody serves to what may be believed.

Rooms, in reading order: `command` (the `verify` command), `release` (a folder's files -> a line a
check), `policy` (whom the certificate must name), `bundles` (where sigstore checks a signature),
`target` (a folder, tag or URL -> files), `checks` (what a line says). `trust/` holds the reviewed
copy of the public trust root.
"""
