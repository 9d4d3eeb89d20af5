"""Pipelines: stages, what they need and make, and in which order they run."""
