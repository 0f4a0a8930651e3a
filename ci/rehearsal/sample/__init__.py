"""The sample distribution: packages with Alpine's names, made from Debian 13's files.

No package registry has Alpine's kernel, mkinitfs or apk, so a rehearsal makes its own packages.
Modules in reading order: make (from Debian's packages to signed repositories), package_lists and
request.toml (requested packages), recipes and recipes.toml (which Debian files become
which package), mirror (Debian's address),
debian (the private apt root), convert (deb -> entries), kernel (modules), elf
(needed libraries), files/ (our own services, tables and package scripts), programs/ (mkinitfs,
the stand-in apk), standin (its files). Beside a real Alpine repository the sample adds only
those of linux-virt, mkinitfs and apk that it lacks.
"""
