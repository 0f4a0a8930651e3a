"""From repositories to a lock: nothing unverified gets in, nothing is half-written."""
