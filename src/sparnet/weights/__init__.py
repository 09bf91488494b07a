"""Model files: which there are, where they lie, what they say of themselves."""
