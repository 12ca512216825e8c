"""The workloads: a module for each kind of work, a list WORKLOADS in it (see benchmarks/workload.py)."""
