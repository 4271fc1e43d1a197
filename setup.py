"""Everything about the package stands in pyproject.toml; some tools ask for this file."""

from setuptools import setup

setup()
