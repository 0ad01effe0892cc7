"""An `Explanation` made visible: plain text, Markdown, curves in a terminal, one HTML page.

Everything here reads records and words and diagnoses nothing. Plotting libraries are loaded by the functions
that draw with them, so that explaining a log in a pipe costs none of it.
"""
