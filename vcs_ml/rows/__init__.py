"""What changed inside a table: columns, rows, and the values in them. `comparison` is the way in."""
