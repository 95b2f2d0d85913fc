"""Colorizing videos: decode with PyAV, colorize every frame, encode in segments, join them.

`pipeline.colorize_video` runs all steps. `reader` decodes, `yuv` converts between planes and
colors, `stabilizer` removes flicker (`optical_flow`, `scene_cuts`), `writer` encodes segments,
`work_dir` keeps them for resuming, and `muxer` joins them with the sound of the source.
"""
