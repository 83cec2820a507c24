"""What the data plane costs: see bench/README.md."""
