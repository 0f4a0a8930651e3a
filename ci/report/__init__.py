"""Output of commands for a person.

- `console`: the object that a command prints with
- `progress`: a bar on a terminal, occasional lines in a log
- `safe_output`: streams without secrets and control characters
- `table`: rows as aligned text or as Markdown
"""
