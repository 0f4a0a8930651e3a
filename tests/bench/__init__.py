"""How fast a snapshot is verified: ratios to what no tool can do without; run by `nox -s bench`."""
