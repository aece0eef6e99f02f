"""The parts of the report on a run, one in each file; each is a function that returns a Part, or None."""
