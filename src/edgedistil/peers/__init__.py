"""Other people's inference engines on the same trained models: optional, and used for comparison only."""
