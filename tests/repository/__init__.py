"""The tree itself: arrows, ignore file, workflows, what the README says."""
