"""Unpaired translators from photos to pictures of a style, and what exports them."""
