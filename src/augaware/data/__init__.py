"""The data room: where images come from, one file per kind of source."""
