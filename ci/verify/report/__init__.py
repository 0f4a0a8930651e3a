"""What verification says to a person.

Rooms, in reading order: `checks` (one line a check), `table` (all lines, and the verdict),
`explain` (what each line proves, and what it does not).
"""
