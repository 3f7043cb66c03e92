"""Proportions of the classes of images: what walkers with and without weights make of them."""
