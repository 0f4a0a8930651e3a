"""A GitHub runner on this machine: an unprivileged user, few programs, and act for the jobs.

Modules, in reading order: `release` (a pushed tag, from the services to the comparison),
`pushed` (what the maintainer pushes), `fork`, `event`, `jobs` (the workflow read as data),
`programs` (what a job finds), `machine` (namespaces and Docker), `runtime` (runs in front of
runc), `act`. `inside/` runs on the runner with the standard library only; `actions/` are the
stand-ins of GitHub's actions, which start it.
"""
