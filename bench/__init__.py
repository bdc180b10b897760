"""Side-by-side measurements of the code distribution against what users would pick instead.

Run from the working tree: `make bench`. README.md says what is measured and how to read it.
"""
