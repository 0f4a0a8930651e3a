"""An image, booted as a droplet and checked.

- `walk`: build record -> droplet -> checks -> boot report (read me first)
- `machine`: QEMU with the image as its disk (edge); `monitor`: what it says meanwhile
- `metadata`: what a droplet sees at 169.254.169.254; `service`: the program that says it
- `ssh`: a key for one boot, and the way in (edge)
- `droplet`: waits for the login, asks, switches off, takes the time
- `checks`: what must be true, one named check each, and the report (pure but for its file)
- `command`: `python -m ci boot`
"""
