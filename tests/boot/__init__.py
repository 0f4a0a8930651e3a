"""The boot room: what a droplet is told, what it must answer, what a boot that fails says."""
