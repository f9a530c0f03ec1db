"""What the Snakefile asks, and what it takes to answer: light modules, read by every `snakemake` call."""
