"""Methods that MIRROR is compared with."""
