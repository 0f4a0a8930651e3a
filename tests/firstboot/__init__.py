"""A droplet finds out who it is, and nobody is locked out on the way."""
