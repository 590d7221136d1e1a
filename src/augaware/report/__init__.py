"""Reports: files in, one self-contained HTML file out. Nothing here imports torch."""
