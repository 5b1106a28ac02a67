"""A file for each scenario; see perf/README.md for how to add one."""
