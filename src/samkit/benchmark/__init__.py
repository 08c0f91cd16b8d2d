"""Benchmarks: workloads that backends run in turns, reported with their machine."""
