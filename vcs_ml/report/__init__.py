"""What a pull request shows: data, stages, metrics and params, gates; written in several formats, and posted."""
