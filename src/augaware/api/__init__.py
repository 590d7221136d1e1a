"""The commands as functions of the same names: what the command line calls, and a script or a notebook."""
