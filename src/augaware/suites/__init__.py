"""The suite room: tables of tasks that belong together, one file per suite."""
