"""Scripts that each answer one question about the design; run them with `python -m`."""
