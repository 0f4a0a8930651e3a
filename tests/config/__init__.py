"""release.toml: what is read, and how it is refused."""
