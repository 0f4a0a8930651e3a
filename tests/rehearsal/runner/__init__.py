"""The rehearsed runner: what it finds, what each job may, and what its stand-ins do."""
