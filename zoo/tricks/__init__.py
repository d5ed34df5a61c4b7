"""One file per trick; found by folder, so no list needs editing."""
