"""Benchmarks: the whole relay beside Postfix with OpenDKIM, under the same load, on one machine."""
