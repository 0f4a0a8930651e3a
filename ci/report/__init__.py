"""What a person sees.

- `console`: the one object that a command prints through
- `progress`: a bar on a terminal, a line now and then in a log
- `table`: rows as aligned text or as Markdown
"""
