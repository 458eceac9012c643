"""Expression tables and gene selection."""
