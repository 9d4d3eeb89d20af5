"""Params, metrics and plots: which files hold them at a revision, what is in them, and how revisions differ."""
