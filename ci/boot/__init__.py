"""Boot an image as a droplet, and check it.

To change what every boot must fulfil, edit `checks`; what a boot with a fault must fulfil,
`scenarios/assertions` and the table `scenarios/scenarios`.

- `boot_image`: build record -> droplet -> checks -> boot report (read first)
- `checks`: probes and checks of a normal boot, and the report (pure but for its file)
- `droplet`: waits for the login, runs scripts, powers off, measures times
- `machine`: QEMU with the image as its disk (edge); `monitor`: its serial line and QMP
- `metadata`: the droplet's metadata; `metadata_service`: the program that serves it
- `ssh`: a key for one boot, and the ssh client (edge)
"""
