"""Commands that use an imported image, for copying."""

import json
import shlex
from collections.abc import Sequence

SIZE = "s-1vcpu-512mb-10gb"
"""The smallest size of droplets, on which the image boots."""


def format_snippets(*, image: str, name: str, regions: Sequence[str]) -> str:
    """Return commands for doctl, curl and Terraform; `image` is the number or a placeholder.

    An SSH key is needed: custom images have no password.
    """
    region = regions[0]
    droplet = {
        "name": name,
        "region": region,
        "size": SIZE,
        "image": int(image) if image.isdecimal() else image,
        "ssh_keys": ["SSH_KEY_FINGERPRINT"],
    }
    return f"""\
doctl:
  doctl compute droplet create {shlex.quote(name)} --image {image} --region {region} \\
      --size {SIZE} --ssh-keys SSH_KEY_FINGERPRINT

curl:
  curl -X POST https://api.digitalocean.com/v2/droplets \\
      -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" -H "Content-Type: application/json" \\
      -d {shlex.quote(json.dumps(droplet))}

Terraform:
  resource "digitalocean_droplet" "snowdrop" {{
    name     = {json.dumps(name)}
    region   = "{region}"
    size     = "{SIZE}"
    image    = {json.dumps(image)}
    ssh_keys = ["SSH_KEY_FINGERPRINT"]
  }}"""
