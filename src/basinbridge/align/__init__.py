"""Find the renumbering of one network that fits another: gather statistics, solve assignments."""
