"""From folders of faces to weights: recipe, losses, loop, state, log."""
