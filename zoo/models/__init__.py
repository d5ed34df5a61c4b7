"""One file per architecture family; found by folder, so no list needs editing."""
