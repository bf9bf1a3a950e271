"""Whole flows: on fakes that refuse what the real thing refuses, and on pieces of the real machine."""
