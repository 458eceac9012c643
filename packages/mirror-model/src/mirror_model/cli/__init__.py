"""Commands of mirror-model, one file each."""
