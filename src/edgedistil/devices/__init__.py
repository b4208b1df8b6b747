"""Devices: what a machine says about itself and how a worker is started there."""
