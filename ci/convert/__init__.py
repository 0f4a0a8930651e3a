"""Other disk formats of a verified image, for clouds and hypervisors that read no qcow2.

- `formats`: the formats, and the bytes in them that qemu-img draws at random
- `convert`: the conversion, tied to the signed image by the digest of its raw disk
"""
