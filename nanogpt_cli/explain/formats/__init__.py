"""One reader per trainer whose logs are understood; each file begins with the lines that trainer prints.

A reader's `feed` takes one clean line and says whether it understood it; what it learned goes to the
assembler.
"""
