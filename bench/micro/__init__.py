"""Benchmarks of one room each, by the CPU that it takes: `python -m bench.micro.ROOM`."""
