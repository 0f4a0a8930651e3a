"""The build of an image from lock and store."""
