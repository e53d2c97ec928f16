"""The version of Cloud Farm; pyproject.toml takes it from here."""

VERSION = "0.1.0"
PROTOCOL = 1
"""Version of what add-on and worker say to each other."""
