"""Files of the rehearsed runner: they run there with the standard library only."""
