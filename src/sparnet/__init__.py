"""Face super-resolution and restoration with spatial attention."""

__version__ = "0.1.0.dev0"
