"""Faces in photos: find them, choose among them, bring them upright, put them back restored."""
