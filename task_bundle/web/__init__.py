"""The local page that runs a bundle in the browser."""
