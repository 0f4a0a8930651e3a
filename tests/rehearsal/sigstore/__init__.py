"""The local sigstore, seen through the unmodified client."""
