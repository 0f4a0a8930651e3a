"""An image, booted when something is amiss: a table with a row for each case.

- `walk`: the table -> rows of the boot report, some cases at a time (read me first)
- `cases`: the table: what is amiss in each boot, and what must hold
- `holds`: what can hold, judged from what was seen (pure)
- `play`: one case: its boots, one after the other on one disk
- `drives`: disks that remember, larger disks, the config drive as a file (edge)
- `iso9660`: the config drive's bytes (pure)
- `wire`: a network on which DHCP is never answered (edge)
"""
