"""Which renumberings of its neurons leave a network's function unchanged, and how to apply one."""
