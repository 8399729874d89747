"""The figures of a report, one family a file: interactive for the page, and for paper."""
