"""Snowdrop's tests: a folder a room, `journeys/` for a whole release, `repository/` for the tree."""
