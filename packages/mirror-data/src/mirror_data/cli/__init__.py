"""Commands of mirror-data, one file each."""
