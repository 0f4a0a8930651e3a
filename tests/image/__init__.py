"""A whole image from lock and store."""
