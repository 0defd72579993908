"""Benchmarks of the latency, memory and correctness of bundles; for results see docs/figures.md."""
