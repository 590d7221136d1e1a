"""The task room: what a frozen encoder is good for, one file per task."""
