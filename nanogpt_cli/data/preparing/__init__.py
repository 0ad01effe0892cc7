"""The steps of `prepare`: survey, split, encode in parallel, write, resume, put in place."""
