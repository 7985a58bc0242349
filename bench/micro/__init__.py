"""Benchmarks of one room each, in one process, by the CPU that it takes: `python -m bench.micro.X`."""
