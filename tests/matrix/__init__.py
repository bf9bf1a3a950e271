"""The kill matrix: every scenario, struck at every point, settled, and held against the promises."""
