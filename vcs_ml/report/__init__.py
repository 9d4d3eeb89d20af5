"""What a reviewer wants to know of a change: gates, metrics, params, data and stages; as text, pages and data."""
