"""The page: photos coloured in a browser by the same Colorizer and pipeline as infer.py.

`uploads` takes files in, `session` holds one visitor's photos and colours them, `visitors` holds
all sessions, `views` makes what a browser can show, `page` lays it out, `dress` is its looks,
`calls` is for programs, `guard` stands before the server, `server` starts it. Only `page`, `dress`,
`calls` and `server` need gradio (the `app` extra).
"""
