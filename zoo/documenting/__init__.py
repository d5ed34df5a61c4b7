"""Documentation that follows from the code: a page and, where there is something to see, a picture of every trick."""
