"""Commands of `python -m ci`, a module each."""
