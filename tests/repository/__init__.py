"""The repository itself: imports, ignore file, workflows, host programs, README."""
