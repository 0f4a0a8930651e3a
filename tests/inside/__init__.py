"""The program in the builder: each step by itself, and each rule with a leak."""
