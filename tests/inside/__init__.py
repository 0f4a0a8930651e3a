"""What runs in the builder: each step on its own, and each leak shown."""
