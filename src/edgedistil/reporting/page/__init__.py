"""The page of a sweep: one HTML file with tables, charts, reasons and commands; it needs no network and no server."""
