"""vcs-ml: Git-native versioning of data, models and machine-learning pipelines."""

__version__ = "0.1.0"
