"""Worker programs: each loads one model on one engine and answers line-delimited JSON."""
