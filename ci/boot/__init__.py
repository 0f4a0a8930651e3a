"""Boot an image as a droplet, and check it.

To change the checks of every boot, edit probes.sh and `checks`; those of a boot with a fault are in
`scenarios/assertions` and in the table scenarios/scenarios.toml.

- `boot_image`: build record -> droplet -> checks -> boot report (read first)
- `checks`: probes and checks of a normal boot, and the report (pure but for its file)
- `droplet`: waits for the login, runs scripts, powers off, measures times
- `machine`: QEMU with the image as its disk (edge); `monitor`: its serial line and QMP
- `metadata`: the droplet's metadata; `metadata_service`: the program that serves it
- `ports`, `timing`: read the open ports, and the time of each service
- `ssh`: a key for one boot, and the ssh client (edge)
"""
