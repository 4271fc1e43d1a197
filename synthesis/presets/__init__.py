"""The recipes of this suite, one YAML file each."""
