"""What a network, or a whole curve of them, is worth on data."""
