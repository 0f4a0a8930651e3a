"""A root without a network, in every engine."""
