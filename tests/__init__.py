"""Snowdrop's tests: a folder a room, `journeys/` for whole releases, `repository/` for the tree."""
