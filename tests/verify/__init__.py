"""A release that is not what it claims is refused."""
