"""Scripts that each answered one question about the design; run with python -m."""
