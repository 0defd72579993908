"""Using face swapping: from photos of one person to a bundle, and the command for it."""
