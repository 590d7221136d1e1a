"""The data sets of the papers, one file each: where they lie, how they are split, how many images they have."""
