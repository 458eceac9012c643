"""Promises of docs/promises.md, tested by breaking things: commands run as processes, and their store is compared."""
