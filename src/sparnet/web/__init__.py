"""The page and the HTTP API: `sparnet serve`."""
