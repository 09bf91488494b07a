"""A model over a test set; the tables and figures of the paper."""
