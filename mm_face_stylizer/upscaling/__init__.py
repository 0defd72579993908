"""Enlarges pictures, and the pictures of stylizers, with networks of the SRResNet family."""
