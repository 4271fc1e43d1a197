"""Everything about the package stands in pyproject.toml; this serves tools that ask for setup.py."""

from setuptools import setup

setup()
