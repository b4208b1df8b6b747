"""Models: what learns. Origins, loading, conversion, shrunken architectures, model folders."""
