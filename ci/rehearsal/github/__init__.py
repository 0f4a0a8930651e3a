"""A double of GitHub's releases, checked both ways against GitHub's own description of its API.

Rooms, in reading order: `__main__` (starts it as a process of its own), `server` (the socket:
requests, uploads, downloads, faults), `operations` (what each operation does), `answers` (what
GitHub says of a release), `state` (the world that it holds, in memory and on disk), `check`
(request and answer against openapi.json), `cut_openapi` (the recipe of openapi.json; NOTICE has
its licence).
"""
