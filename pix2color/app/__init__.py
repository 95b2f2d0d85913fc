"""The web app: photos colored in a browser by the same Colorizer and pipeline as infer.py.

- `limits`, `hosts`, `validation`: what a client may ask for, from where, and with which values.
- `uploads`: takes files in. `session`: one client's photos. `sessions`: all sessions.
- `cached_runtime`: keeps network outputs. `views`: images that a browser can show.
- `page`, `components`, `theme`: the HTML page. `api`: the functions for programs.
- `endpoint`: POST /colorize, without a session.
- `middleware`: filters requests. `server`: starts and stops everything.

Only `page`, `components`, `theme`, `api`, `endpoint` and `server` need gradio (the `app` extra).
"""
