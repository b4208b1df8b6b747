"""Tasks: what is learnt. Where its texts come from, how they become token ids, how answers are scored."""
