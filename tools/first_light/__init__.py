"""The first minutes on a GPU; see __main__.py."""
