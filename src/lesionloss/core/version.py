"""The version, which every file that this program writes names."""

__version__ = "0.2.0"
