"""The workspace: what is tracked, what changed, and how it gets in and out of a store."""
