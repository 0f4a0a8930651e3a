"""Where the world is touched, and nowhere else in `build`.

`process` starts programs, `container` runs them in a root of their own without network,
`build_dirs` makes the folders of one build, `manner` is how it goes about it,
`progress` tells what is going on.
"""
