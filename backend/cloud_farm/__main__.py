"""`python -m cloud_farm`."""

from .cli import main

if __name__ == "__main__":
    main()
