"""Restricted Boltzmann RBMs of real and planted data, beside other libraries."""
