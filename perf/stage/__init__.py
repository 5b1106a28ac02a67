"""The servers that the benchmark copies from and to, each in a process of its own."""
