"""The version of Cloud Farm; pyproject.toml takes it from here."""

VERSION = "0.1.0"
