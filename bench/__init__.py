"""Benchmarks. Each compares two ways to do the same work here, so that its ratio means something elsewhere."""
