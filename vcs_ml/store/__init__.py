"""Stores: objects, packs, manifests, remotes, and the moves between them."""
