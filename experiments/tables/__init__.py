"""Likelihoods of tables: noneq's default beside other ways to estimate a density."""
