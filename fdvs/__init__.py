"""fdvs: hours of video as a story that people can read, search and question, with the exact time behind it."""

__version__ = "0.1.0"
