"""What the command line understands: a function per command, thin over :mod:`augaware.api`; cli.py registers them."""
