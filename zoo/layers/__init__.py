"""One file per group of layers that two or more models share; found by folder, so no list needs editing."""
