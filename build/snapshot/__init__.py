"""From repositories to a lock and the files it names.

In reading order: pin, repositories (with consistency and forward), solve (with solutions,
solver_errors and missing), partial_update, fetch_packages, verify_package, fetch, lock_entries,
lock, store, restore, archive (with archive_readme), compare.
"""
