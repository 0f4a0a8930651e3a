"""Alpine's formats: packages and indexes read, refused and written."""
