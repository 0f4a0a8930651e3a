"""Alpine's file formats: bytes in, values out.

In reading order: streams, tar, info, package, signature, index, version; rsa and writing for
our own packages.
"""
