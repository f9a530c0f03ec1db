"""Answers to what the workflow's rules ask while Snakemake plans: a module a step, named after it."""
