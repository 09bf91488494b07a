"""What can go wrong for a user, in few classes.

Every message is one line that says what, what was expected, what was found, and the remedy
where it is known. Programming errors stay `ValueError` and `TypeError`.
"""


class SparnetError(Exception):
    """Anything a user can cause and can be told in one line."""


class ImageError(SparnetError):
    """A picture cannot be read, is not what is needed, or cannot be written."""


class WeightsError(SparnetError):
    """A model file is missing, damaged, or does not fit."""


class RecipeError(SparnetError):
    """A recipe or a value set on the command line is wrong."""


class DataError(SparnetError):
    """A folder or pack of faces is missing, empty, or not what is needed."""


class NoFaceFound(SparnetError):  # noqa: N818 - a public name
    """A face was asked for and the picture shows none."""
