"""The import of a verified image at DigitalOcean.

- `api`: the operations of custom images, and their errors
- `plan`: the next action, from what is wanted and what the account has (pure)
- `run`: one action at a time, until there is none; the state is read from the service each time
- `private`: the way by a bucket of the importer, whose bytes nobody else can change
- `snippets`: commands that use the imported image
"""
