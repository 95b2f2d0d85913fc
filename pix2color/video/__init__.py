"""Films: read with PyAV, colored frame by frame with steady colors, written in segments.

`film.color` is the whole way: `reading` decodes, `signal` knows luma and chroma of a pixel format,
`steady` keeps colors from flickering (`flow`, `shots`), `writing` encodes segments, and `joining`
puts them into one file with the source's sound.
"""
