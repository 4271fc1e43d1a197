"""Recipes of this suite, one YAML file each."""
