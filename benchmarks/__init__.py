"""Measurements whose figures the README quotes. Nothing here runs in a test's time."""
