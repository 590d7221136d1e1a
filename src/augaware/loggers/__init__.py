"""Where a run's numbers go beside metrics.jsonl."""
