"""Films: read with PyAV, coloured frame by frame with steady colours, written in segments.

`film.colour` is the whole way: `reading` decodes, `signal` knows luma and chroma of a pixel format,
`steady` keeps colours from flickering (`flow`, `shots`), `writing` encodes segments, and `joining`
puts them into one file with the source's sound.
"""
