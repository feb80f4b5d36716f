"""Curves through weight space, and fitting them to low loss."""
