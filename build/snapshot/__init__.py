"""From repositories to a lock and the bytes it names.

In reading order: pin, mirrors (with consistency), solve (with reasons), partial (with excerpt),
gather, chain, mirror (with fetching and answers), lock, store, fill, archive
(with archive_readme), compare.
"""
