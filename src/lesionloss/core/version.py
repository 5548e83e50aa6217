"""The version, which every file that this program writes names."""

__version__ = "0.1.0"
