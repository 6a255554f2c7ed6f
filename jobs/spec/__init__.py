"""The YAML of pipelines: its models, its reader, and its checks."""
