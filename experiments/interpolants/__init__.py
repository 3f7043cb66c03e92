"""Stochastic interpolants: steps, digits, and other libraries."""
