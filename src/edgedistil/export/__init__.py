"""ONNX without an exporter: the graph is written from the weights, at the precision that ships. Needs no torch."""
