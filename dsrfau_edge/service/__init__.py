"""A service: cameras in, outputs out, in one process that stays up.

`dsrfau-serve` is its command; docs/service.md tells how it behaves.
"""
