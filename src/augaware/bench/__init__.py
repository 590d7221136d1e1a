"""How fast: one file per bench; each measures this library and its peers at the same job, in turns."""
