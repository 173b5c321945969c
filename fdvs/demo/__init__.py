"""A small film of our own, with known facts: for `fdvs demo`, the README and the tests."""
