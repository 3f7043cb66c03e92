"""Densities in the plane: what three ways of training learn of shapes whose truth is known."""
