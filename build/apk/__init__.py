"""What Alpine's formats say, bytes in and values out.

In reading order: streams, tar, info, package, trust, index, version; rsa and writing for
packages of our own.
"""
