"""A double of DigitalOcean's API: the operations of custom images, with real state.

It fetches the image from its URL itself, HEAD and then GET, and checks what DigitalOcean documents
about custom images. Each request and response is checked against DigitalOcean's own description.

- `openapi.json`: the part of that description which the double has (NOTICE)
- `description`: the check of requests and responses against it
- `state`: images and actions, and the faults that a test asks for
- `fetch`: the download of an image and the checks of its format
- `server`: the HTTP application
"""
