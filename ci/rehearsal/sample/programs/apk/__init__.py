"""The sample distribution's own apk: package content that speaks apk 3's command line.

No package registry carries Alpine's apk, so the rehearsal ships this one. It is written from the
documented behaviour (apk-tools, doc/apk-package.5 and doc/apk-repositories.5; what the real tool
was seen to do), and compared with the real one by `tests/sample/`. Standard library only; it is
installed as `/usr/lib/apk-standin/apk/` with `/sbin/apk.static` as its launcher, so its rooms
find one another by sibling imports and know nothing of Snowdrop.

In reading order: program (the command line), repository (indexes), versions (what satisfies
what), solver (which packages), ordering (in which order), explain (why not), packages (a file and
its chain of digests), trust (keys), database (what is installed), unpacking, scripts, installing.
"""
