"""The one training loop, and what a step of it minimises."""
