"""The pages we write: one file each, which needs nothing from anywhere and is safe with a stranger's words in it."""
