"""Whole studies made of the library's pieces, and the record of what made each result."""
