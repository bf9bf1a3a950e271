"""Measurements: what `./dev bench` prints. Ratios within one run, since machines differ; nothing here is a test."""
