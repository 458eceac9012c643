"""Commands of mirror-eval, one file each."""
