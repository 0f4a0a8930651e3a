"""From a signed release in a folder to one that strangers can download.

Rooms, in reading order: `files` (what dist holds, every byte hashed again), `plan` (what is left
to do, and where things will be; pure), `notes` (what the release says of itself), `transfer`
(bytes up and down, with progress and a bound), `github_release` (where GitHub is touched),
`walk` (draft, upload, read back, publish), `command` (the `publish` command), `mirror` (where the
bucket is touched), `mirror_command`.
"""
