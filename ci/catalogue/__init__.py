"""The catalogue of a mirror: which images there are, and how to verify and import them.

- `catalogue`: the releases as values, and catalogue.json (`catalogue.schema.json`)
- `entry`: the entry of a release, from its manifest and its signed statements
- `page`: index.html, which works without scripts and asks no other server (`page.html.in`,
  `page.css`, `page.js`)
- `feed`: feed.xml, an Atom feed of the releases

The catalogue is a signpost and no proof: nothing in it is trusted, each image is verified by its
own signatures.
"""
