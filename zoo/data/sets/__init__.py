"""One file per registered data set."""
