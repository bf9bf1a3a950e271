"""The tests: unit, flow on fakes, docker on a real engine."""
