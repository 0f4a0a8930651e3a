"""Access to the host: processes, containers, network and temporary folders.

`process` starts programs, `container` runs them in a root of their own without network,
`download` reads files over HTTP, `build_dirs` makes the folders of one build, `variation` holds
the settings of a build that must not change its bytes, `owners` finds files of another user,
`replies` reads those of an API, `progress` is the display of steps.
"""
