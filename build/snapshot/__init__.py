"""From repositories to a lock and the bytes it names.

In reading order: pin, mirror, solve, chain, lock (with lock_fields), store, fill,
archive (with archive_readme), compare.
"""
