"""The version of Cloud Farm; pyproject.toml takes it from here."""

VERSION = "0.1.0"
PROTOCOL = 1
"""Version of what add-on and worker say to each other."""
LAST_WORDS_SECONDS = 1.0
"""What a worker has left for all of its requests once its input ends; Blender waits a little longer for it."""
