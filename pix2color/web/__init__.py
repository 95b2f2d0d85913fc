"""The page without a server: static files that color photos inside the browser."""
