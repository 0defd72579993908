"""Finding, aligning and tracking faces."""
