"""From what somebody serves to what may be believed.

Rooms, in reading order: `command` (the `verify` command), `walk` (what was asked for, and how it
is done), `release` (a folder's files -> a line a check), `single` (the same for one image),
`content` (what manifest and statements say, held against the files), `target` (a folder, tag or
URL -> files), `reading` (files and JSON of a stranger). `trust` says whom to believe and checks
signatures by it, `report` says what was found.
"""
