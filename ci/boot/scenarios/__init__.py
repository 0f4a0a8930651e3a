"""Boot an image under faults: a table with a row for each scenario.

- `run_all`: the table -> rows of the boot report, several scenarios at a time (read first)
- `scenarios`: the tables, scenarios.toml and restarts.toml: faults and assertions of each boot
- `assertions`, `observation`: the possible assertions about a boot, and what they read (pure)
- `runner`: one scenario: its boots, one after the other on one disk
- `running`: scenarios on one running droplet, where the service starts again (restarts.toml)
- `power_cuts`: scenarios with a power cut at a random moment (pure)
- `pages`: the service's pages in other forms (pure)
- `drives`: overlay disks, larger disks, the config drive as a file (edge)
- `hardware`: QEMU's arguments for further cards and the config drive
- `iso9660`: the bytes of the config drive (pure)
- `dhcp_filter`: a network without DHCP (edge)
"""
