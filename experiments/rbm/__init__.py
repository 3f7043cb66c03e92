"""Restricted Boltzmann machines of real and planted data, beside other libraries."""
