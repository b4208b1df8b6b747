"""Model folders as products: what is in one, its answers without PyTorch, its card, and what of it may be published."""
