"""Everything about the package stands in pyproject.toml; this file serves tools that ask for setup.py."""

from setuptools import setup

setup()
