"""Bad input, made on purpose: what users really have, case by case, and damage drawn at random."""
