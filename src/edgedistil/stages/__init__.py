"""The three stages and their steps: each turns options and finished artifacts into a new artifact."""
