"""Pipelines: stages, what they need and make, the order they run in, and running them."""
