"""The report's sections, one file each: a function from the evidence to a `Section`."""
