"""The TOML file: read, checked with the place of every mistake, and watched for changes."""
