"""Measures the latency, memory and correctness of bundles on this computer."""
