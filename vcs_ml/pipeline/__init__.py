"""Pipelines: stages, the order they run in, and running them."""
