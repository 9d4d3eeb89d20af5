"""One file per command: its options, the calls it makes, what it prints."""
