"""Configuration: schemas, validation, canonical form, compatibility. Light: imports neither torch nor numpy."""
