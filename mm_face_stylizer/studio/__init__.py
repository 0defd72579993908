"""The studio: a local page to paint in a style, to pick a ready one, and to make one's own."""
